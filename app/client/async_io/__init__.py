"""The parts of the client that wait, for asyncio."""
