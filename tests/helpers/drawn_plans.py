"""Plans that are drawn, and texts that must not break a drawing."""

from hypothesis import strategies as st

from helpers.plans import action, plan
from workflow_state.schema import ExecutionPlan

HOSTILE = [
    'x"] --> evil["',
    "end",
    "%%{init: {'theme': 'dark'}}%%",
    "<script>alert(1)</script>",
    "#quot;#35; &quot; \\N \\l \\",
    "`**bold**` _it_ 1. - www.example.com",
    "a\nb\r\n  evil --> a0\x00\x1b\u202e",
    "style x fill:#fff; classDef a:#b;",
]
texts = st.one_of(st.text(min_size=1, max_size=12), st.sampled_from(HOSTILE))


def document(*actions, **fields):
    return ExecutionPlan.model_validate({**plan(*actions), **fields})


ORDER = document(
    action("list"),
    action("check", ["list"], condition={"if": "${list.output.ok}"}),
    action("each", ["list"], forEach="${list.output.items}"),
    action("pay", ["check"], errorHandling={"alternativeActionId": "invoice"}),
    action("invoice", ["check"]),
    action(
        "send",
        ["pay", "each"],
        userConfirmation={"required": True, "title": "Send it?", "message": "Now?"},
        condition={"if": "${pay.output.sum} > 1", "else": "fail"},
    ),
)
