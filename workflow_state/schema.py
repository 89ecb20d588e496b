"""The wire contract: plans, action definitions and execution states.

JSON is camelCase, because the documents are shared with services in other languages. Python attributes are
snake_case. Both spellings are accepted on input, and camelCase is written. Unknown fields are errors, so that a typo is
found. Times are ISO 8601 with offset, durations are integer milliseconds.
"""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    StringConstraints,
    field_validator,
    model_serializer,
)
from pydantic.alias_generators import to_camel

from workflow_state.wording import did_you_mean

MAX_ACTIONS = 10_000
FOR_EACH_LIMIT = 1_000
MAX_VALIDATIONS = 100
ACTION_ID_PATTERN = r"^[A-Za-z_][A-Za-z0-9_-]{0,127}$"
EXECUTION_ID_PATTERN = r"^[A-Za-z0-9_.:-]{1,128}$"
URL_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
# In a URL, a header or a credential of a definition: the value of an environment variable of the worker.
ENV_REFERENCE = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)\}")
RESERVED_ACTION_IDS = frozenset({"inputs"})
# A failure with this code: a worker was lost while it sent an unsafe request, and nobody knows whether that arrived.
OUTCOME_UNKNOWN = "outcome_unknown"
# A failure with this code: one worker after the other was lost over it.
WORKERS_LOST = "workers_lost"
# A failure with this code: a bound of what an execution may multiply.
LIMIT_EXCEEDED = "limit_exceeded"
# A failure with this code: Redis has refused the final state, and this one is an outline of it.
STATE_NOT_STORED = "state_not_stored"
# This is in the context of every other failure after which an unsafe request may have had its effect.
MAY_BE_DONE = {"outcome": "unknown"}

Milliseconds = Annotated[int, Field(ge=0)]
ActionId = Annotated[str, StringConstraints(pattern=ACTION_ID_PATTERN)]


class ContractModel(BaseModel):
    """The base of every document: camelCase in JSON, snake_case in Python, and no unknown fields.

    A field that was never given and is None is left out of the JSON. A field that was given as null is written as null.
    For a `fallbackValue` the two mean different things.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
    )

    @model_serializer(mode="wrap")
    def _omit_what_was_never_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        for name, field in type(self).model_fields.items():
            if getattr(self, name) is None and name not in self.model_fields_set:
                data.pop(field.alias or name, None)
                data.pop(name, None)
        return data

    def __getitem__(self, name: str) -> Any:
        """Read a field by its JSON name: `state["actionStates"]` is `state.action_states`."""
        for field_name, field in type(self).model_fields.items():
            if name in (field.alias, field_name):
                return getattr(self, field_name)
        raise KeyError(name)

    def to_json_data(self) -> dict[str, Any]:
        """Return the document as plain JSON data with camelCase keys."""
        return self.model_dump(mode="json", by_alias=True)


# --- What is submitted -----------------------------------------------------------------------------------------


class Intent(ContractModel):
    """What the person asked for, and how it was understood."""

    original: str = Field(description="What the person said.")
    interpreted: str = Field(description="What it was taken to mean.")
    confidence: float = Field(ge=0, le=1, description="How sure that is, from 0 to 1.")


class Condition(ContractModel):
    """Run the action only where `if` holds; otherwise skip or fail it."""

    if_: str = Field(
        alias="if",
        min_length=1,
        description="One reference, or a CEL expression with references in it: `${check.output.age} >= 18`.",
    )
    then: Literal["execute"] = Field(default="execute", description="What happens where it holds.")
    else_: Literal["skip", "fail"] = Field(
        default="skip", alias="else", description="What happens where it does not hold."
    )


class ErrorHandling(ContractModel):
    """What happens when the action has failed for good, after its retries."""

    continue_on_failure: bool = Field(
        default=False, description="Whether the plan goes on without the action; otherwise its failure stops the plan."
    )
    fallback_value: JsonValue = Field(
        default=None,
        description="Any JSON: the action's output where it fails. Null is a value too; leave it out for none.",
    )
    alternative_action_id: str | None = Field(
        default=None, description="The id of another action of the plan, which runs only in the place of this one."
    )

    @property
    def has_fallback(self) -> bool:
        """Whether a fallback value was given; null is one too."""
        return "fallback_value" in self.model_fields_set


class UserConfirmation(ContractModel):
    """A person's answer that the action waits for before it is sent."""

    required: bool = Field(description="Whether the action waits for an answer.")
    title: str = Field(max_length=500, description="What is asked, in a line.")
    message: str = Field(max_length=4_000, description="What the person needs to know to answer.")
    timeout: Milliseconds | None = Field(
        default=None, description="After so many milliseconds without an answer the action fails; days are fine."
    )


class PlannedAction(ContractModel):
    """One node of the plan: which definition to call, with what, and after what."""

    id: ActionId = Field(
        description="Unique in the plan: a letter or _, then up to 127 letters, digits, _ and -. Not `inputs`."
    )
    action_definition_id: str = Field(min_length=1, description="The id of the action definition to call.")
    inputs: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="What is sent: `NAME` fills {NAME} in the URL; query.NAME, header.NAME and body.NAME set one query "
        "parameter, header or property of the body; body is the whole. Values are any JSON, with references in it.",
    )
    dependencies: list[str] = Field(
        default_factory=list,
        description="The ids of the actions that must have ended before; references may read only these.",
    )
    condition: Condition | None = Field(default=None, description="Run the action only where this holds.")
    error_handling: ErrorHandling = Field(
        default_factory=ErrorHandling, description="What happens where the action fails for good, after its retries."
    )
    user_confirmation: UserConfirmation | None = Field(
        default=None, description="Ask a person before the request is sent."
    )
    for_each: str | None = Field(
        default=None,
        min_length=1,
        description="A reference to a list: the action runs once for each element, with ${item} and ${itemIndex} in "
        "its inputs, and its output is the list of outputs.",
    )
    for_each_limit: int = Field(
        default=FOR_EACH_LIMIT,
        ge=1,
        le=MAX_ACTIONS,
        exclude_if=lambda limit: limit == FOR_EACH_LIMIT,
        description="The most elements that the list may have; with more of them the action fails.",
    )

    @field_validator("id")
    @classmethod
    def _id_is_not_reserved(cls, value: str) -> str:
        if value in RESERVED_ACTION_IDS:
            raise ValueError(f"'{value}' is reserved: ${{{value}.NAME}} reads the plan's own {value}")
        return value


class OutcomeValidation(ContractModel):
    """One check of the finished plan's outputs."""

    name: str = Field(description="What is checked, for people.")
    reference: str = Field(description="What is looked at: ${actionId.output.path}.")
    operator: Literal["exists", "equals", "contains", "matches"] = Field(
        description="exists: it is there; equals: it is the value; contains: a text or list has the value in it; "
        "matches: the value is a regular expression that is found in the text."
    )
    value: JsonValue = Field(default=None, description="Any JSON to compare with; not for exists.")


class ExpectedOutcome(ContractModel):
    """What must be true once every level has run."""

    description: str = Field(description="What should be true at the end, for people.")
    validations: list[OutcomeValidation] = Field(
        default_factory=list,
        max_length=MAX_VALIDATIONS,
        description="The checks; one that does not pass fails the execution.",
    )


class PlanMetadata(ContractModel):
    """Who made the plan, when, and how long it should take (milliseconds)."""

    created_at: AwareDatetime = Field(description="When the plan was made: ISO 8601 with an offset.")
    created_by: str | None = Field(default=None, description="Who made it.")
    estimated_duration: Milliseconds = Field(description="How many milliseconds it should take.")
    tags: list[str] = Field(default_factory=list, description="Words of your own.")


class ExecutionPlan(ContractModel):
    """A JSON document of HTTP actions that depend on each other."""

    id: UUID = Field(default_factory=uuid4, description="The plan's own id, a UUID; made where it is missing.")
    name: str = Field(min_length=1, description="What the plan is called, for people.")
    description: str | None = Field(default=None, description="What it is for, for people.")
    intent: Intent | None = Field(default=None, description="What the person asked for, and how it was understood.")
    inputs: dict[str, JsonValue] = Field(
        default_factory=dict, description="Parameters of this run, any JSON, which actions read as ${inputs.NAME}."
    )
    actions: list[PlannedAction] = Field(
        min_length=1,
        max_length=MAX_ACTIONS,
        description="The actions. Their order means nothing: dependencies say what runs after what.",
    )
    expected_outcome: ExpectedOutcome | None = Field(
        default=None, description="What must be true once all actions have run."
    )
    metadata: PlanMetadata | None = Field(default=None, description="Who made the plan, and when.")


# --- What an operator writes -----------------------------------------------------------------------------------


class Effect(StrEnum):
    """Whether a request may be sent again; `keyed` means that the server honours an Idempotency-Key header."""

    SAFE = "safe"
    IDEMPOTENT = "idempotent"
    KEYED = "keyed"
    UNSAFE = "unsafe"


_EFFECT_OF_METHOD = {
    "GET": Effect.SAFE,
    "PUT": Effect.IDEMPOTENT,
    "DELETE": Effect.IDEMPOTENT,
    "POST": Effect.UNSAFE,
    "PATCH": Effect.UNSAFE,
}


class Endpoint(ContractModel):
    """Where an action's requests go. `timeout` bounds one attempt as a whole, redirects included, in milliseconds.

    With `followRedirects` up to five redirects are followed. Another origin gets no credentials, no header of the
    definition and no body.
    """

    url: str = Field(min_length=1, description="http or https, with {NAME} in its path for what inputs fill in.")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(default="GET", description="The HTTP method.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers of every request.")
    timeout: int = Field(
        default=30_000,
        ge=1,
        le=86_400_000,
        description="Milliseconds for one attempt as a whole, token request and redirects included.",
    )
    follow_redirects: bool = Field(
        default=False, exclude_if=lambda follows: not follows, description="Whether up to five redirects are followed."
    )

    @property
    def placeholders(self) -> list[str]:
        """The names of the placeholders in the URL, in its order."""
        return URL_PLACEHOLDER.findall(self.url)


class BearerAuthentication(ContractModel):
    """`Authorization: Bearer TOKEN` (RFC 6750)."""

    type: Literal["bearer"] = Field(description="`bearer`.")
    token: str = Field(description="The token.")


class ApiKeyAuthentication(ContractModel):
    """A key in a header of the server's own choosing."""

    type: Literal["api_key"] = Field(description="`api_key`.")
    header: str = Field(description="The header's name.")
    value: str = Field(description="The key.")


class BasicAuthentication(ContractModel):
    """`Authorization: Basic …` (RFC 7617)."""

    type: Literal["basic"] = Field(description="`basic`.")
    username: str = Field(description="The user's name.")
    password: str = Field(description="The password.")


class OAuth2ClientCredentials(ContractModel):
    """A token from the client credentials grant (RFC 6749, section 4.4).

    `tokenEndpointAuthMethod` says where the token request has id and secret (RFC 7591, section 2): in a header, or in
    its body, for servers that read them only there.
    """

    type: Literal["oauth2_client_credentials"] = Field(description="`oauth2_client_credentials`.")
    client_id: str = Field(description="The client's id.")
    client_secret: str = Field(description="The client's secret.")
    token_url: str = Field(description="Where tokens are asked for.")
    scope: list[str] = Field(default_factory=list, description="The scopes to ask for.")
    token_endpoint_auth_method: Literal["client_secret_basic", "client_secret_post"] = Field(
        default="client_secret_basic",
        description="Where the token request has id and secret: in a header, or in its body.",
    )


Authentication = Annotated[
    BearerAuthentication | ApiKeyAuthentication | BasicAuthentication | OAuth2ClientCredentials,
    Field(discriminator="type"),
]


class RetryPolicy(ContractModel):
    """How often and how soon a retryable failure is tried again; `maxAttempts` counts the first try."""

    max_attempts: int = Field(default=3, ge=1, le=20, description="How many attempts there are, the first included.")
    initial_delay_ms: Milliseconds = Field(default=1_000, description="The longest wait before the second attempt.")
    max_delay_ms: Milliseconds = Field(default=30_000, description="The longest wait before any attempt.")
    backoff_multiplier: float = Field(default=2, ge=1, le=100, description="How much longer each wait may be.")


class RateLimit(ContractModel):
    """A limit that all workers and plans share."""

    requests_per_second: float | None = Field(
        default=None, gt=0, description="How many requests may leave in a second."
    )
    concurrent: int | None = Field(default=None, ge=1, description="How many may be under way at once.")


BodyFormat = Literal["json", "text", "ndjson", "bytes"]


class ResponseRules(ContractModel):
    """How an answer is read, where its headers do not say it or say it wrongly."""

    format: BodyFormat | None = Field(
        default=None,
        description="How the body of a success is read, whatever its Content-Type is: json; text, whose output is "
        '{"text": …}; ndjson, one JSON value in each line, whose output is the list of them; or bytes, which are '
        "stored. Where missing, by the Content-Type.",
    )


class ActionDefinition(ContractModel):
    """An HTTP call that an operator wrote. A plan can name one, never change one."""

    id: str = Field(min_length=1, max_length=256, description="What plans name it by.")
    name: str = Field(default="", description="What it does, in a line.")
    description: str = Field(default="", description="What one has to know to use it.")
    endpoint: Endpoint = Field(description="Where requests go.")
    authentication: Authentication | None = Field(
        default=None, description="How requests say who sends them; values may be ${env.NAME}."
    )
    retry_policy: RetryPolicy = Field(
        default_factory=RetryPolicy, description="How often and how soon it is tried again."
    )
    effect: Effect | None = Field(
        default=None,
        description="Whether sending twice is harmless. Where missing by the method: GET safe, PUT and DELETE "
        "idempotent, POST and PATCH unsafe.",
    )
    input_schema: dict[str, JsonValue] | None = Field(default=None, description="JSON Schema of the inputs.")
    output_schema: dict[str, JsonValue] | None = Field(default=None, description="JSON Schema of the output.")
    rate_limit: RateLimit | None = Field(default=None, description="A limit that all workers and plans share.")
    response: ResponseRules | None = Field(default=None, description="How answers are read.")
    allowed_headers: list[str] = Field(
        default_factory=list,
        exclude_if=lambda names: not names,
        description="Headers that plans may set although they can change what a request does: Idempotency-Key, say.",
    )

    @property
    def authentication_header(self) -> str | None:
        """The name of the header that carries the credentials, or None where there are none."""
        if isinstance(self.authentication, ApiKeyAuthentication):
            return self.authentication.header
        return None if self.authentication is None else "Authorization"

    @property
    def effective_effect(self) -> Effect:
        """The declared effect, or the one that the method implies (RFC 9110, section 9.2)."""
        return self.effect or _EFFECT_OF_METHOD[self.endpoint.method]


# --- What a run leaves -----------------------------------------------------------------------------------------


class ErrorCategory(StrEnum):
    """What kind of failure it was; a caller may branch on it."""

    AUTH_EXPIRED = "auth_expired"
    AUTH_INVALID = "auth_invalid"
    RATE_LIMIT_DAILY = "rate_limit_daily"
    RATE_LIMIT_BURST = "rate_limit_burst"
    NETWORK_TIMEOUT = "network_timeout"
    NETWORK_CONNECTION_REFUSED = "network_connection_refused"
    API_RESPONSE_MALFORMED = "api_response_malformed"
    API_ENDPOINT_REMOVED = "api_endpoint_removed"
    API_UNEXPECTED_STATUS = "api_unexpected_status"
    VALIDATION_FAILED = "validation_failed"
    STATE_INCONSISTENT = "state_inconsistent"
    USER_CANCELLED = "user_cancelled"


class ErrorDetail(ContractModel):
    """Why something failed, and what to do about it. `retryAfter` is in milliseconds."""

    category: ErrorCategory = Field(description="What kind of failure it was.")
    message: str = Field(description="What happened, for people.")
    code: str | None = Field(
        default=None, description="Which case of the category it was, such as `http_503` or `outcome_unknown`."
    )
    status_code: int | None = Field(default=None, description="The HTTP status of the answer, where there was one.")
    retryable: bool = Field(default=False, description="Whether the same request may succeed later.")
    retry_after: Milliseconds | None = Field(
        default=None, description="How many milliseconds the server asked to wait."
    )
    context: dict[str, str] = Field(default_factory=dict, description="More about it, as names and texts.")
    suggestion: str | None = Field(default=None, description="What to do about it.")


class StorageLocation(ContractModel):
    """Where an output too large or too binary for the state was put."""

    provider: str = Field(description="What keeps it: `file`, or the scheme of the storage URL.")
    path: str = Field(description="Where it was written: a path, or a URL of the storage.")
    size: int = Field(ge=0, description="How many bytes it has.")
    checksum: str = Field(description="The SHA-256 of its bytes.")
    content_type: str = Field(description="The media type that the server named.")
    metadata: dict[str, str] = Field(default_factory=dict, description="More about it, as names and texts.")


class TracedRequest(ContractModel):
    """What was sent, with credentials redacted."""

    method: str = Field(description="The HTTP method.")
    url: str = Field(description="The whole URL.")
    headers: dict[str, str] = Field(description="Its headers.")
    body: JsonValue = Field(default=None, description="Its body, shortened where it is long.")


class ShownRequest(TracedRequest):
    """What will be sent, as a person is shown it who is to confirm it: whole, with known secrets masked.

    `headers` are those of the plan, and then those of the definition. `transportHeaders` are what the client adds to
    every request. A long body is not in the state: `bodyLocation` says where it is.
    """

    transport_headers: dict[str, str] = Field(
        default_factory=dict, description="The headers that the client adds by itself."
    )
    body: JsonValue = Field(default=None, description="Its body; missing where it is long.")
    body_is_text: bool = Field(
        default=False, exclude_if=lambda is_text: not is_text, description="Whether its body is a text, and no JSON."
    )
    body_location: StorageLocation | None = Field(
        default=None, description="Where the text of a long body is stored, with its size and its SHA-256."
    )


class TracedResponse(ContractModel):
    """What was answered, with credentials redacted; `duration` is in milliseconds."""

    status: int = Field(description="The HTTP status.")
    headers: dict[str, str] = Field(description="Its headers.")
    body: JsonValue = Field(default=None, description="Its body, shortened where it is long.")
    duration: Milliseconds = Field(description="Milliseconds from sending to the end of the answer.")


class HttpTraceEntry(ContractModel):
    """One request: what was sent, and the response or the error.

    An attempt has one entry, and one more for each redirect that was followed (see `is_followed_redirect`) and for each
    token that was asked for or refused. `continued` says that the next entry is of the same attempt.
    """

    timestamp: datetime = Field(description="When the request was sent.")
    request: TracedRequest = Field(description="What was sent.")
    response: TracedResponse | None = Field(default=None, description="What was answered.")
    error: str | None = Field(default=None, description="Why there is no answer, or why it does not count.")
    continued: bool | None = Field(default=None, description="Whether the next entry belongs to the same attempt.")

    @property
    def is_followed_redirect(self) -> bool:
        """Whether the next entry is of the same attempt: a redirect that was not followed is an error."""
        return self.error is None and self.response is not None and self.response.status in range(300, 400)


class ActionSuccess(ContractModel):
    """The action has an output: its own, its fallback or its alternative's.

    `assumed` says that no answer was seen. The outcome was unknown, and a person decided when resuming that it is this.
    """

    status: Literal["success"] = Field(default="success", description="`success`.")
    output: JsonValue = Field(description="The output, as JSON.")
    output_location: StorageLocation | None = Field(
        default=None, description="Where the output is stored, where it is not in the state."
    )
    used_fallback: bool | None = Field(default=None, description="Whether the output is the fallback value.")
    alternative_action_id: str | None = Field(default=None, description="Which alternative the output is of.")
    assumed: bool | None = Field(
        default=None, description="Whether a person decided that this was the output: no answer was seen."
    )


class ActionFailure(ContractModel):
    """The action failed for good."""

    status: Literal["failure"] = Field(default="failure", description="`failure`.")
    error: ErrorDetail = Field(description="Why it failed.")
    partial_output: JsonValue = Field(
        default=None, description="Of a list: its outputs, with null for each element that failed."
    )


class ActionSkip(ContractModel):
    """The action did not run. `blockedBy` is the failed action because of which it was skipped, if there is one.

    An action over a list that was cancelled halfway has `partialOutput`, with null for each element that did not run.
    """

    status: Literal["skipped"] = Field(default="skipped", description="`skipped`.")
    reason: str = Field(description="Why it did not run.")
    blocked_by: str | None = Field(
        default=None, description="The failed action that it would have needed, where that is why."
    )
    partial_output: JsonValue = Field(
        default=None,
        description="Of a list that was cancelled halfway: its outputs, with null for each element that did not run.",
    )


ActionResult = Annotated[ActionSuccess | ActionFailure | ActionSkip, Field(discriminator="status")]


class HttpActionResult(ActionSuccess):
    """What `execute_http_action` returns: the output of one attempt, and its trace."""

    http_trace: list[HttpTraceEntry] = Field(default_factory=list)


class ActionStatus(StrEnum):
    """Where an action is."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class RunState(ContractModel):
    """What the states of an action and of an element have in common. Between two attempts `nextAttemptAt` is set."""

    status: ActionStatus = Field(description="Where it is.")
    started_at: datetime | None = Field(default=None, description="When its first attempt began.")
    completed_at: datetime | None = Field(default=None, description="When it ended.")
    duration: Milliseconds | None = Field(default=None, description="Milliseconds from the first attempt to the end.")
    attempts: int = Field(default=0, description="How many attempts have begun.")
    next_attempt_at: datetime | None = Field(
        default=None, description="When its next attempt is due, between two attempts."
    )
    http_trace: list[HttpTraceEntry] = Field(
        default_factory=list, description="Its requests and their answers, in order."
    )


class ElementState(RunState):
    """One element of an action with `forEach`. Its output is in the action's output, at the same index."""

    index: int = Field(description="Its place in the list, from 0.")
    output_location: StorageLocation | None = Field(
        default=None, description="Where its output is stored, where it is not in the state."
    )
    error: ErrorDetail | None = Field(default=None, description="Why it failed.")
    reason: str | None = Field(default=None, description="Why it did not run.")
    used_fallback: bool | None = Field(default=None, description="Whether its output is the fallback value.")
    assumed: bool | None = Field(default=None, description="Whether a person decided what its output was.")


class ActionExecutionState(RunState):
    """One action of one execution. An action with `forEach` has `elements`."""

    action_id: str = Field(description="The action's id in the plan.")
    result: ActionResult | None = Field(default=None, description="How it ended.")
    elements: list[ElementState] | None = Field(default=None, description="With `forEach`: its elements.")

    @property
    def completed_by_fallback(self) -> bool:
        """Whether it completed, and its output or that of an element of its list is the fallback value."""
        if not isinstance(self.result, ActionSuccess):
            return False
        return bool(self.result.used_fallback) or any(element.used_fallback for element in self.elements or [])


class ExecutionStatus(StrEnum):
    """Where an execution is."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    PAUSED_FOR_CONFIRMATION = "paused_for_confirmation"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ConfirmationState(ContractModel):
    """A question to a person, and the answer.

    `request` is what will be sent, whole, with known secrets masked. `digest` tells it from any other request, so that
    the answer holds for this one alone. `title` and `message` are the plan's own words. In the result of the Celery
    task only the first of a list's elements has them. `timedOut` says that nobody answered before `expiresAt`.
    """

    action_id: str = Field(description="The action that asks; `pay[3]` is one element of a list.")
    requested_at: datetime = Field(description="When it was asked.")
    responded_at: datetime | None = Field(default=None, description="When it was answered.")
    confirmed: bool | None = Field(default=None, description="The answer; missing while there is none.")
    user_id: str | None = Field(default=None, description="Who answered.")
    title: str | None = Field(default=None, description="What is asked, in a line.")
    message: str | None = Field(default=None, description="What the person needs to know.")
    request: ShownRequest | None = Field(
        default=None, description="What will be sent, whole, with known secrets masked."
    )
    digest: str | None = Field(
        default=None,
        description="What tells this request from any other: an answer with it counts for this request only.",
    )
    expires_at: datetime | None = Field(default=None, description="Until when an answer counts.")
    timed_out: bool | None = Field(default=None, description="Whether nobody answered in time.")


class ValidationResult(ContractModel):
    """An expected outcome, and what was found."""

    name: str = Field(description="What was checked.")
    passed: bool = Field(description="Whether it is so.")
    actual: JsonValue = Field(
        default=None, description="What was found, up to 1 KiB; of more the message has the beginning."
    )
    message: str = Field(description="What was found, for people.")


class ResumedElement(ContractModel):
    """Whether a resumed execution kept the output of one element of a list, and why or why not."""

    index: int = Field(description="Its place in the list, from 0.")
    kept: bool = Field(description="Whether its output was kept.")
    reason: str = Field(description="Why or why not.")


class ResumedAction(ContractModel):
    """Whether a resumed execution kept an action's output, and why or why not.

    An action over a list has `elements` where they were looked at one by one.
    """

    kept: bool = Field(description="Whether its output was kept.")
    reason: str = Field(description="Why or why not.")
    elements: list[ResumedElement] | None = Field(
        default=None, description="Over a list: its elements, where they were looked at one by one."
    )


class ResumeReport(ContractModel):
    """Which execution was resumed, and what became of each action's output."""

    execution_id: str = Field(description="The execution that was resumed.")
    user_id: str | None = Field(
        default=None, description="Who resumed it, and decided about requests of unknown outcome."
    )
    actions: dict[str, ResumedAction] = Field(description="What became of each action, by id.")


class ExecutionMetrics(ContractModel):
    """Counts of the actions by how they ended; `totalDuration` is in milliseconds."""

    total_actions: int = Field(description="How many actions the plan has.")
    completed_actions: int = Field(description="How many completed.")
    failed_actions: int = Field(description="How many failed.")
    skipped_actions: int = Field(description="How many were skipped.")
    total_duration: Milliseconds | None = Field(default=None, description="Milliseconds from start to end.")


class ExecutionSummary(ContractModel):
    """One line of a list of executions."""

    id: str = Field(description="The execution's id.")
    plan_id: str = Field(description="The plan's id.")
    name: str = Field(description="The plan's name.")
    status: ExecutionStatus = Field(description="Where it is.")
    submitted_at: datetime = Field(description="When it was submitted.")
    started_at: datetime | None = Field(default=None, description="When it started.")
    completed_at: datetime | None = Field(default=None, description="When it ended.")


class ExecutionState(ContractModel):
    """One run of a plan. `version` grows with every change of the document."""

    id: str = Field(description="The execution's id.")
    plan_id: str = Field(description="The plan's id.")
    status: ExecutionStatus = Field(description="Where it is.")
    started_at: datetime = Field(description="When it started; before that, when it was submitted.")
    completed_at: datetime | None = Field(default=None, description="When it ended.")
    action_states: dict[str, ActionExecutionState] = Field(description="The state of each action, by its id.")
    confirmations: list[ConfirmationState] = Field(
        default_factory=list, description="The questions to people, and their answers."
    )
    validations: list[ValidationResult] = Field(
        default_factory=list, description="The expected outcomes, and what was found."
    )
    error: ErrorDetail | None = Field(default=None, description="Why it failed.")
    metrics: ExecutionMetrics = Field(description="How many actions ended how.")
    version: int = Field(description="Grows with each change of the state.")
    cancelled_by: str | None = Field(default=None, description="Who asked it to end, where that is known.")
    resumed: ResumeReport | None = Field(
        default=None, description="What became of the outputs of the execution that it resumes."
    )

    def output_of(self, action_id: str) -> Any:
        """Return the output of a completed action, as `${ID.output}` reads it: any JSON.

            state.output_of("greet")["args"]

        Over a list it is the list of the elements' outputs. Raises LookupError, with the reason, where there is no such
        action, where it has no output, and where its output is stored elsewhere: `read_output` reads that one.
        """
        result = self._state_of(action_id).result
        if isinstance(result, ActionSuccess) and result.output_location is None:
            return result.output
        raise LookupError(f"{action_id!r} has no output here: {self._why_no_output(action_id)}")

    def error_of(self, action_id: str) -> ErrorDetail | None:
        """Return why an action failed, or None where it did not; raises LookupError where there is no such action."""
        result = self._state_of(action_id).result
        return result.error if isinstance(result, ActionFailure) else None

    def _state_of(self, action_id: str) -> ActionExecutionState:
        if state := self.action_states.get(action_id):
            return state
        guess = did_you_mean(action_id, self.action_states)
        raise LookupError(f"the execution has no action {action_id!r}" + (f", {guess}" if guess else ""))

    def _why_no_output(self, action_id: str) -> str:
        state = self._state_of(action_id)
        match state.result:
            case ActionSuccess():
                return f"it is stored, read_output({self.id!r}, {action_id!r}) reads it"
            case ActionFailure(error=error):
                return f"it failed: {error.message}"
            case ActionSkip(reason=reason):
                return f"it was skipped: {reason}"
        return f"it is {state.status}"
