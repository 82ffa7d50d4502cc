"""The parts of the client that wait, for code that is not asynchronous."""
