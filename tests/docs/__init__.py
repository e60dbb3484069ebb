"""The documentation: its blocks of commands are run, its links and its claims about the code are checked."""
