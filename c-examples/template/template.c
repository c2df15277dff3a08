/* TEMPLATE: a CloudSnooze plugin in C99 to copy. Rename the file, search for "template" and "example", then fill
 * in the functions. As it stands it builds, loads, and declines every event. Apache-2.0.
 *
 * Threads, by the tag before each function:
 *   [main]      one control thread, never two calls for one instance at once; may take seconds.
 *   [dispatch]  a real-time thread that other plugins share.
 *   [worker]    a real-time thread of your own while the call lasts; may block, should not burn CPU.
 *   [any]       any thread, also while another function of the instance runs; must not block.
 * Everywhere: what is passed in is borrowed until the function returns, so copy what you keep. Nobody frees the
 * other's memory. Never call exit, abort, fork without exec, setlocale, chdir or umask, and never install a signal
 * handler: the process belongs to the daemon. Never longjmp out. Write nothing to stdout: use snooze_logf. */

#include <stdlib.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

/* All state of one instance. No globals: the configuration may name the plugin several times. */
struct instance {
  snooze_plugin table;     /* What the host calls; its address is the instance. */
  const snooze_host *host; /* The host's services; lives longer than the instance. */
};

/* [main] Open what the instance needs: connections, files, threads. Work done here is not done in the short time
 * between the notice and the end of the machine. On failure: return snooze_failf(host, SNOOZE_E_..., "why"). */
static snooze_status activate(const snooze_plugin *plugin)
{
  const struct instance *self = plugin->ctx;
  snooze_logf(self->host, SNOOZE_LOG_DEBUG, "template is active");
  return SNOOZE_OK;
}

/* [dispatch] Called once on each pool thread: touch the code and memory that on_event will need, so that the first
 * event finds them warm. Never block. Leave the member out of the table when there is nothing to touch. */
static void warm_up(const snooze_plugin *plugin) { (void)plugin; }

/* [worker] Handle one event. Look at the head first (event->kind, event->severity, event->flags), then at the fields
 * (snooze_event_text). Work in steps; between them ask snooze_cancelled(call), and never plan past
 * snooze_left_ms(host, call). Say what was done with snooze_set_result, as a JSON object. Answer
 *   SNOOZE_OK       done                         SNOOZE_SKIPPED  there was nothing to do
 *   SNOOZE_E_RETRY  failed now, try again        SNOOZE_E_...    failed; say why with snooze_failf
 * The same delivery may come again after a crash: call->idempotency_key stays the same. With SNOOZE_CAP_REALTIME in the
 * class this function runs on [dispatch] instead: no blocking, no allocation, no I/O. */
static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct instance *self = plugin->ctx;
  if (event->kind != SNOOZE_KIND_SPOT_INTERRUPT) {
    return SNOOZE_SKIPPED;
  }
  snooze_logf(self->host, SNOOZE_LOG_INFO, "nothing is done yet with the %lld ms left",
              (long long)snooze_left_ms(self->host, call));
  return SNOOZE_SKIPPED;
}

/* [any] The call was cancelled: wake what on_event waits for. May run while on_event runs. A handler that polls
 * call->cancelled, or waits with poll() on host->cancel_fd, can leave the member out of the table. */
static void on_cancel(const snooze_plugin *plugin, const snooze_call *call, uint32_t reason)
{
  (void)plugin;
  (void)call;
  (void)reason;
}

/* [worker] Asked after a handled event, with the time left: does the effect really hold? Look at the world, not at
 * your memory of it. SNOOZE_OK it does, SNOOZE_SKIPPED cannot be told, snooze_failf(...) when it does not. */
static snooze_status verify(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  (void)plugin;
  (void)event;
  (void)call;
  return SNOOZE_SKIPPED;
}

/* [main] Stop and join every thread and timer of the instance, close what activate opened. activate may follow. */
static void deactivate(const snooze_plugin *plugin) { (void)plugin; }

/* [main] Free the instance. No code of it may run afterwards. Follows a failed activate too. */
static void destroy(const snooze_plugin *plugin) { free(plugin->ctx); }

/* [main] Make an instance; cheap, nothing is opened yet. Read the configuration here: snooze_json_text for texts,
 * snooze_json_find for the rest. On success write *out; on failure leave it alone and say why. */
static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  struct instance *self = calloc(1, sizeof *self);
  (void)args;
  if (self == NULL) {
    return snooze_failf(host, SNOOZE_E_NO_MEMORY, "no memory for an instance");
  }
  self->host = host;
  self->table.struct_size = sizeof self->table;
  self->table.ctx = self;
  self->table.activate = activate;
  self->table.warm_up = warm_up;
  self->table.on_event = on_event;
  self->table.on_cancel = on_cancel;
  self->table.verify = verify;
  self->table.deactivate = deactivate;
  self->table.destroy = destroy;
  *out = &self->table;
  return SNOOZE_OK;
}

/* [main] The JSON Schema of the configuration: the daemon checks the configuration against it before create, so that a
 * mistake is found when the daemon starts and not when the machine dies. This one takes no member at all. */
static const char *config_schema(void) { return "{\"type\":\"object\",\"additionalProperties\":false}"; }

static const snooze_class CLASS = {
    .struct_size = sizeof(snooze_class),
    .caps = SNOOZE_CAP_PROCESS_OK,        /* SNOOZE_CAP_*: claim only what holds. */
    .id = "org.example.template",         /* Reverse-domain, yours for ever. */
    .name = "template",                   /* The name in configurations, and of the file: template.so. */
    .version = "0.1.0",                   /* Of the plugin. */
    .description = "Declines every event; a start for a plugin of your own",
    .config_schema = config_schema,
    .create = create,
};

/* The maker, the SPDX licence, the home page. */
SNOOZE_EXPORT("Example Inc.", "Apache-2.0", "https://example.org", &CLASS);
