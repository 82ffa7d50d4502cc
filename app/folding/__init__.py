"""Folds events into state, by reducers that are data: what a service would else do in its own code.

`reducer` says what a reducer is and what is refused; `process` runs them, in a process of their own
(docs/decisions/0015-reducers.md). Neither HTTP nor SQL is known here.
"""
