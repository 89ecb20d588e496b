"""The end of each command's help: examples that can be run, and what the exit codes mean."""

from collections.abc import Mapping, Sequence
from typing import Final

_AFTER_AN_EXECUTION: Final = (
    "0 completed, 1 failed, or Redis did, 2 wrong usage, plan or setting, 3 cancelled, 130 Ctrl-C."
)
_OTHERWISE: Final = "0 done, 1 Redis failed, 2 wrong usage, plan, id or setting, 130 Ctrl-C."
_WITHOUT_REDIS: Final = "0 done, 2 wrong usage, plan, id or setting, 130 Ctrl-C."
_UNTIL_CTRL_C: Final = "0 ended by Ctrl-C, 1 Redis failed, 2 wrong usage or setting."

_EXIT_CODES: Final[Mapping[str, str]] = {
    "": _AFTER_AN_EXECUTION,
    "dev": _UNTIL_CTRL_C,
    "run": _AFTER_AN_EXECUTION,
    "web": _UNTIL_CTRL_C,
    **dict.fromkeys(
        ("actions", "actions import", "actions list", "actions show", "completion", "schema", "validate"),
        _WITHOUT_REDIS,
    ),
    "status": f"0 it is there; with --watch {_AFTER_AN_EXECUTION}",
}
_EXAMPLES: Final[Mapping[str, Sequence[str]]] = {
    "": ("workflow-state run plan.json --actions actions/", "workflow-state COMMAND --help"),
    "run": (
        "workflow-state run plan.json --actions actions/ --input customerId=c-18",
        "workflow-state run plan.json --json > state.json",
    ),
    "submit": (
        "workflow-state submit plan.json",
        "workflow-state submit plan.json --id order-17 --input customerId=c-18",
    ),
    "validate": ("workflow-state validate plan.json --actions actions/", "workflow-state validate plan.json --json"),
    "status": ("workflow-state status order-17", "workflow-state status order-17 --watch"),
    "list": ("workflow-state list --status failed", "workflow-state list --limit 100 --json"),
    "cancel": ("workflow-state cancel order-17",),
    "confirm": (
        "workflow-state confirm order-17 pay",
        "workflow-state confirm order-17 pay --yes --user ada",
        "workflow-state confirm order-17 pay --reject --user ada",
    ),
    "output": (
        "workflow-state output order-17 customer",
        "workflow-state output order-17 invoice --out invoice.pdf",
    ),
    "expire": ("workflow-state expire",),
    "resume": (
        "workflow-state resume order-17",
        "workflow-state resume order-17 --plan repaired.json",
        'workflow-state resume order-17 --assume-done \'{"paymentId": "p-17"}\'',
    ),
    "graph": (
        "workflow-state graph plan.json > plan.mmd",
        "workflow-state graph order-17 --format gantt --out order-17.svg",
    ),
    "dev": ("workflow-state dev --actions actions/", "workflow-state dev --data ~/.workflow-state --no-flower"),
    "web": ("workflow-state web", "workflow-state web --port 9000"),
    "schema": (
        "workflow-state schema --actions actions/ > plan.schema.json",
        "workflow-state schema --strict > strict.schema.json",
        "workflow-state schema --read answer.json > plan.json",
    ),
    "completion": (
        'eval "$(workflow-state completion bash)"    # in ~/.bashrc; zsh likewise',
        "workflow-state completion fish > ~/.config/fish/completions/workflow-state.fish",
    ),
    "actions": ("workflow-state actions list",),
    "actions list": ("workflow-state actions list --actions actions/", "workflow-state actions list --json"),
    "actions show": ("workflow-state actions show crm.customer",),
    "actions import": (
        "workflow-state actions import openapi.yaml --out actions/shop.yaml",
        "curl -s https://shop.example/openapi.json | workflow-state actions import - --prefix shop.",
    ),
}


def help_end(command: str) -> str:
    r"""Return the epilog of a command; the `\b` keeps click from joining the lines."""
    lines = [f"  {example}" for example in _EXAMPLES[command]]
    return "\n".join(["\b", "Examples:", *lines, "", f"Exit codes: {_EXIT_CODES.get(command, _OTHERWISE)}"])
