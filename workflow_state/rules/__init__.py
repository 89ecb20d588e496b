"""What follows from what has happened: whether an action runs, when it is tried again, what state results. Pure.

Ask `policy` about blocks and retries, `states` for the state of an execution, `for_each` about an action over a list,
and `decisions` and `carry_over` about resuming. A new rule for retries belongs in `policy`.
"""
