"""A battery of command lines: the same outcome without the hook, with an empty cache, and with a full one."""
