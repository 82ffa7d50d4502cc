"""What the process logs: one line a record, bounded in length and number, without payloads.

Everything logs through the standard library. `setup` opens the logs, `line` renders a record,
`failure` an exception, `repetition` bounds how many there are of a kind, `writer` writes without
ever holding anybody up, and `context` tells on whose behalf something is logged.
"""
