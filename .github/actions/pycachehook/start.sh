# Install pycachehook into the environment of $PYTHON, enable it there, and start counting.
set -euo pipefail
case $CACHE_DIR in
  /*) directory=$CACHE_DIR ;;
  *) directory=$PWD/$CACHE_DIR ;;
esac
umask 022 # a cache that others may write to is refused
"$PYTHON" -m pip --version >/dev/null 2>&1 && install=("$PYTHON" -m pip install) || install=(uv pip install --python "$PYTHON")
"${install[@]}" --quiet "$REQUIREMENT"
read -r -a options <<<"$OPTIONS"
"$PYTHON" -m pycachehook enable --cache-dir "$directory" "${options[@]}"
echo "PYCACHEHOOK_STATS=${RUNNER_TEMP:-/tmp}/pycachehook-stats.jsonl" >>"$GITHUB_ENV"
