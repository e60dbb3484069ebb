# Make the cache small, and write what was counted into the job's summary.
set -euo pipefail
"$PYTHON" "$GITHUB_ACTION_PATH/summary.py" "${PYCACHEHOOK_STATS:-}" >>"$GITHUB_STEP_SUMMARY"
if [ -d "$CACHE_DIR" ]; then
  "$PYTHON" -m pycachehook prune --cache-dir "$CACHE_DIR" --max-size "$MAX_SIZE" --max-age "$MAX_AGE"
fi
