"""What a plan says: its references, its conditions, the levels in which its actions run. Pure.

Ask `levels` for the order of the actions, `references` and `resolving` for what a `${…}` is and stands for,
`conditions` whether a condition holds, and `validation` whether the plan can be run.
"""
