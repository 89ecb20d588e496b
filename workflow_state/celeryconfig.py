"""Celery's settings for workflow_state, each with its reason.

`celeryconfig.py` at the top of the repository is a link to this file. A team may keep a celeryconfig.py of its own
where the worker starts. Its settings win over these, except for those that correctness rests on (CORE_SETTINGS in
celery.py).
"""

from workflow_state.settings import get_settings

_settings = get_settings()
_redis_url = _settings.redis_url or "redis://127.0.0.1:6379/0"
# A unix socket has no keepalive, and redis-py refuses one.
_over_network = not _redis_url.startswith("redis+socket://")

# --- Where messages and results are ----------------------------------------------------------------------------
# Redis is both: one server to run, to back up and to watch.
broker_url = _redis_url
result_backend = _redis_url
# A queue of our own: a team's other workers on the same Redis would take our messages, not know them, and drop them.
task_default_queue = "workflow_state"
task_queues = None
task_create_missing_queues = True
# And a control exchange of our own: a neighbour's `celery control shutdown` would end our workers.
control_exchange = "workflow_state"
# JSON only: pickle and YAML on a queue run code.
task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
result_accept_content = ["json"]

# --- Delivery: a killed worker's actions run elsewhere -----------------------------------------------------------
# Acknowledged when done, not when taken: otherwise a killed worker's message is gone.
task_acks_late = True
# A message that can't be run is done with: it would come back for ever.
task_acks_on_failure_or_timeout = True
# A killed prefork child's message goes back to the queue at once.
task_reject_on_worker_lost = True
# One message for each free slot. A worker that hoards messages makes a level as slow as its own backlog, and small
# plans wait behind a large one that it has prefetched. Prefetching more gained nothing where actions wait for servers
# (`./run bench pools`).
worker_prefetch_multiplier = 1
# Redelivery waits the visibility timeout (an hour by default!); the lease (engine/lease.py) keeps what is alive.
broker_transport_options = {
    "visibility_timeout": _settings.visibility_timeout_s,
    # The default looks for dead workers' messages every 10 x 10 s.
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
    # kombu's own names are everybody's: our worker would give a neighbour's message, which may run for an hour, to
    # another of its workers after our thirty seconds.
    "unacked_key": "workflow_state:unacked",
    "unacked_index_key": "workflow_state:unacked_index",
    "unacked_mutex_key": "workflow_state:unacked_mutex",
    # Without these a connection that goes silent (no FIN) hangs its worker for ever. With them the worker asks after
    # five seconds of silence, and closes the connection three seconds later. It has several, and finds out one by one.
    "socket_timeout": 3,
    "socket_connect_timeout": 5,
    "socket_keepalive": _over_network,
    "health_check_interval": 5,
}
# The same four for the result backend.
redis_socket_timeout = 3
redis_socket_connect_timeout = 5
redis_socket_keepalive = _over_network
redis_backend_health_check_interval = 5
# A worker may start before its Redis, and outlive a restart of it.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# A request under way is finished, and its result kept, when the broker's connection breaks.
worker_cancel_long_running_tasks_on_connection_loss = False

# --- Results -----------------------------------------------------------------------------------------------------
# One retention for everything: an execution never loses half of its state.
result_expires = _settings.retention_s
result_failure_expires = _settings.retention_s
result_chord_expires = _settings.retention_s
# An answer that can't be stored because Redis is away is kept until it can be. Its request was sent, and may not be
# sent twice.
result_backend_always_retry = True
result_backend_max_retries = float("inf")
result_backend_max_sleep_between_retries_ms = 2_000
# A task's arguments belong in its message, not once more in its result.
result_extended = False
# STARTED would overwrite the execution's own RUNNING.
task_track_started = False
# A level's results are read one by one by those who need them.
task_ignore_result = False

task_store_eager_result = False
# For a team's own tasks: these would change ours.
task_annotations = None
task_default_rate_limit = None
# Ours are JSON, written as it is.
task_compression = None
result_compression = None
task_protocol = 2

# --- The worker --------------------------------------------------------------------------------------------------
# HTTP actions wait. Threads wait cheaply, start at once, and share one pool of HTTP connections. Sixteen threads do
# what sixteen processes do, in 120 MB instead of 1.5 GB (`./run bench pools`).
worker_pool = "threads"
# Sixteen requests at a time: a level of a usual plan runs at once. With requests of 200 ms a worker does nine tenths of
# what sixteen threads could do at the most. An action costs 4 to 5 ms of a core, and a process has one core. Thirty-two
# threads (`--concurrency 32`) do a third more at 100 ms, and twice as much where requests take seconds.
worker_concurrency = 16
# On SIGTERM running actions may end in peace for this long before their messages go back.
worker_soft_shutdown_timeout = 30.0
# Our log lines are JSON already; Celery would wrap each of them in a line of its own.
worker_redirect_stdouts = False

# --- Monitoring --------------------------------------------------------------------------------------------------
# True would show an action in Flower before a worker takes it, and cost one more message for each action. What -E
# itself costs can't be measured (`make bench`, "The price of being watched"). Nor can the price of our JSON lines.
task_send_sent_event = False
