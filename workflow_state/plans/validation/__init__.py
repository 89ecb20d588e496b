"""Whether a plan can be run: every problem, found in one pass, with its place and where possible its repair. Pure.

Ask `validator`. It has `document` read the plan, `fields` check its form, and `logic` check what refers to what.
"""
