"""Test the documentation: blocks of commands are run, links and claims about the code are checked."""
