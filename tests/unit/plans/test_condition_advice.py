"""What to write instead is itself a condition."""

import re

import pytest

from workflow_state.errors import ConditionError
from workflow_state.plans.condition_advice import _INSTEAD, check_calls
from workflow_state.plans.conditions import check_condition
from workflow_state.plans.expressions import Call

ADVICE = re.compile(r"; write (.*)$")


def written(message):
    """Return the expressions that a message says to write, without the remarks on them."""
    return [re.split(r" (?:for|to) ", text)[0] for text in re.split(r" or ", ADVICE.search(message)[1])]


@pytest.mark.parametrize("name", _INSTEAD)
@pytest.mark.parametrize("arguments", ["", "${a.output.y}", "'x', 2"])
@pytest.mark.parametrize("receiver", ["", "${a.output.x}."])
def test_what_is_advised_can_be_read(name, arguments, receiver):
    """With the author's own values, or with VALUE and TEXT in their places."""
    try:
        check_condition(f"{receiver}{name}({arguments})")
    except ConditionError as error:
        if "takes" in str(error):
            return
        for text in written(str(error)):
            check_condition(text.replace("VALUE", "${a.output.x}").replace("TEXT", "'x'"))
            assert "reference_" not in text


def test_what_can_not_be_read_is_not_advised():
    """It is tried: here nothing that is tried can be read."""
    with pytest.raises(ConditionError) as caught:
        check_calls([Call("len", None, ("x",))], lambda _: False)
    assert written(str(caught.value)) == ["size(VALUE)"]
