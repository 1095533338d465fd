"""Rules about the way of a request to a pod and back: names, the image's tag, ports, times, and enough pods."""

from collections.abc import Iterator

from conf.base.quantities import binary_quantity
from conf.plan.own_pod import FILE
from conf.plan.plan import most_pods, opens_host_port
from conf.plan.pods import READINESS_FAILURES, READINESS_PERIOD, grace_period
from conf.plan.routes import buffer_limit
from conf.plan.scaling import SETTLED
from conf.rules.context import Rule, RuleContext, Violation, hint
from serving.settings import size_in_bytes

# Seconds after which a gateway that pings as often as Kubernetes probes leaves out a pod that ends.
NOTICE = READINESS_PERIOD * READINESS_FAILURES
NODE_DRAIN = 600  # seconds for which the cluster's autoscaler waits for a pod when it removes a node, by default


def image_tag_is_not_latest(context: RuleContext) -> Iterator[Violation]:
    if context.image.version in ("", "latest"):
        cure = "give the image a tag of its own, such as the commit's"
        yield Violation("--image", f"{context.image.text} names no version, so nobody can tell which one serves: {cure}")


def username_is_no_namespace_of_the_clusters_own(context: RuleContext) -> Iterator[Violation]:
    region = context.region
    own = {region.gateway.namespace, region.gateway.pods, region.prometheus.namespace}
    if context.is_prod and context.plan.namespace in own:
        words = f"the namespace {context.plan.namespace} is the cluster's own, for its gateway or monitoring"
        yield Violation("username", f"{words}: choose another username")


def username_is_listed(context: RuleContext) -> Iterator[Violation]:
    users, username = context.regions.users, context.settings.username
    if context.is_prod and users and username not in users:
        yield Violation(
            "username",
            f"{username} is not one of the users in {context.regions.place('users')}, so charts/cluster makes no namespace"
            " of it and its jobs have no rights there: add it, or choose one of them",
        )


def host_port_is_in_range(context: RuleContext) -> Iterator[Violation]:
    if not opens_host_port(context.settings, context.plan.track):
        return
    name, srv = context.region.name, context.region.srv
    if srv is None:
        cure = f"set {name}_use_srv = False, or describe srv in {context.region_place('')}"
        yield Violation("use_srv", f"{name} lets no service open a node's port: {cure}")
    elif not srv.first_port <= context.settings.host_port <= srv.last_port:
        words = f"host_port is {context.settings.host_port}, and {name} allows {srv.first_port} to {srv.last_port}"
        yield Violation("host_port", f"{words}: choose a port of those")


def host_port_leaves_the_restricted_standard(context: RuleContext) -> Iterator[Violation]:
    if opens_host_port(context.settings, context.plan.track):
        user = context.regions.users.get(context.plan.namespace)
        label = "label pod-security.kubernetes.io/enforce: privileged"
        how = f"{label}; charts/cluster sets it where users.{user.name} of regions.yaml has use_srv: true" if user else label
        permit = "" if user and user.use_srv else f" the namespace {context.plan.namespace} must permit it ({how}), and"
        yield hint(
            "use_srv",
            f"host_port puts the pod outside the restricted pod security standard:{permit} every pod needs a node of its own,"
            " one more while a release rolls out",
        )


def one_pod_is_not_enough(context: RuleContext) -> Iterator[Violation]:
    if context.is_prod and most_pods(context.settings, "prod") == 1:
        words = "with one pod, a node that goes away leaves no healthy upstream until another starts: run two"
        yield hint("replicas", words)


def drain_fits_the_grace_period(context: RuleContext) -> Iterator[Violation]:
    seconds = grace_period(context.settings)
    if seconds > NODE_DRAIN:
        yield hint(
            "timeout_second",
            f"a pod may take {seconds} s to end (timeout_second and drain_delay_second), and a node that is taken away"
            f" waits {NODE_DRAIN} s: its last requests may be cut off; shorten timeout_second",
        )


def a_pod_that_ends_is_noticed_in_time(context: RuleContext) -> Iterator[Violation]:
    delay = context.settings.drain_delay_second
    if opens_host_port(context.settings, context.plan.track) and delay <= NOTICE:
        yield Violation(
            "drain_delay_second",
            f"drain_delay_second is {delay:g}, and a gateway that pings host_port every {READINESS_PERIOD} s leaves a pod out"
            f" after {READINESS_FAILURES} failures, {NOTICE} s: until then it sends requests to a closed port; set more than"
            f" {NOTICE}",
        )


def upload_is_within_the_deadline(context: RuleContext) -> Iterator[Violation]:
    settings = context.settings
    if context.is_set("upload_timeout_second") and settings.upload_timeout_second > settings.timeout_second:
        yield Violation(
            "upload_timeout_second",
            f"upload_timeout_second is {settings.upload_timeout_second:g} and timeout_second {settings.timeout_second:g}: an"
            " upload cannot outlast its request; lower the one or raise the other",
        )


def a_request_fits_the_queue(context: RuleContext) -> Iterator[Violation]:
    settings = context.settings
    if context.is_set("max_rows_per_request") and settings.max_rows_per_request > settings.queue_limit:
        yield Violation(
            "max_rows_per_request",
            f"max_rows_per_request is {settings.max_rows_per_request} and queue_limit {settings.queue_limit}: a request of more"
            " rows than may wait is always refused; lower the one or raise the other",
        )


def a_slow_batch_is_not_called_hung(context: RuleContext) -> Iterator[Violation]:
    settings = context.settings
    if settings.stuck_after_second < settings.timeout_second:
        yield hint(
            "stuck_after_second",
            f"a batch counts as hung after {settings.stuck_after_second} s, before its requests' deadline of"
            f" {settings.timeout_second:g} s: a slow one restarts the pod; raise stuck_after_second to the deadline",
        )


def gateway_can_send_the_largest_body_again(context: RuleContext) -> Iterator[Violation]:
    """Envoy keeps a body for a retry up to its buffer's limit. It gives the retry of a larger one up in silence."""
    largest, kept = size_in_bytes(context.settings.max_body), buffer_limit(context.region)
    if largest > kept:
        yield hint(
            "max_body",
            f"max_body is {context.settings.max_body}, and the gateway of {context.region.name} sends no request above"
            f" {binary_quantity(kept)} again: a larger one that meets a pod which went away is lost; lower max_body, or raise"
            f" buffer_limit in {context.region_place('.gateway')} and apply what"
            f" `monopod gateway --region {context.region.name}` prints",
        )


def autoscaler_follows_what_is_short(context: RuleContext) -> Iterator[Violation]:
    settings = context.settings
    if context.is_prod and settings.max_replicas and settings.autoscale_by == "cpu" and context.need.gpu:
        yield hint(
            "autoscale_by",
            f'autoscale_by is "cpu", and pods in {context.region.name} compute on a GPU: a card can be full while the cores are'
            ' idle, and no pod is added; set autoscale_by = "queue", which needs KEDA there',
        )


def autoscaler_waits_until_the_busy_time_tells(context: RuleContext) -> Iterator[Violation]:
    settings = context.settings
    by_queue = context.is_prod and settings.max_replicas and settings.autoscale_by == "queue"
    if by_queue and settings.scale_down_after_second < SETTLED:
        yield hint(
            "scale_down_after_second",
            f"scale_down_after_second is {settings.scale_down_after_second}, and pods follow the busy time of the last minute:"
            f" when load rises, new pods may go again before that minute is over; set it to at least {SETTLED}",
        )


def containers_have_names_of_their_own(context: RuleContext) -> Iterator[Violation]:
    taken = [each.name for each in context.plan.workloads]
    for own in context.own_pod.init_containers:
        if own.name in taken:
            words = f"the container {own.name} has the name of the model's: choose another, such as {own.name}-data"
            yield Violation(f"{FILE}:{own.line}", words)


RULES: tuple[Rule, ...] = (
    image_tag_is_not_latest,
    containers_have_names_of_their_own,
    username_is_no_namespace_of_the_clusters_own,
    username_is_listed,
    a_request_fits_the_queue,
)
ONLINE_RULES: tuple[Rule, ...] = (
    host_port_is_in_range,
    host_port_leaves_the_restricted_standard,
    one_pod_is_not_enough,
    drain_fits_the_grace_period,
    a_pod_that_ends_is_noticed_in_time,
    upload_is_within_the_deadline,
    a_slow_batch_is_not_called_hung,
    gateway_can_send_the_largest_body_again,
    autoscaler_follows_what_is_short,
    autoscaler_waits_until_the_busy_time_tells,
)
