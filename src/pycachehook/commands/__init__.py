"""The commands, one module each: functions that return data and print nothing."""
