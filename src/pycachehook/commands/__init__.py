"""One module per command: functions that return data and print nothing."""
