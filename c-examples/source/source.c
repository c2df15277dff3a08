/* A complete source of notices in C99: the fictional cloud "nimbus" sends lines to a local socket, one datagram each.
 *   announce ID ACTION SECONDS    in so many seconds it does ACTION (terminate, stop, reboot) to this machine; said again
 *                                 with the same ID it is the same notice, with fewer SECONDS its time has moved
 *   withdraw ID ACTION            it does not, after all
 * When the work for a notice is done, a line "EVENT-ID OUTCOME" is appended to a file: nimbus' acknowledgement.
 * Configuration: {"socket": "/path", "acknowledgements": "/path"}. Apache-2.0. */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

/* The longest pause between two signs of life, and what is promised to the host: more, for a busy machine. */
#define PAUSE_MS 5000
#define PROMISE_MS 15000

struct nimbus {
  snooze_plugin table;
  const snooze_host *host;
  struct sockaddr_un address;
  char acknowledgements[4096];
};

static const struct {
  const char *name;
  const char *event_type;
  uint32_t action;
} ACTIONS[] = {
    {"terminate", "cloud.instance.terminate", SNOOZE_ACTION_TERMINATE},
    {"stop", "cloud.maintenance.stop", SNOOZE_ACTION_STOP},
    {"reboot", "cloud.maintenance.reboot", SNOOZE_ACTION_REBOOT},
};

/* One line of the cloud. Nobody is told of what is not understood but the log: the next line may be good. */
static void hear(const struct nimbus *self, const snooze_source_host *source, const char *line)
{
  char verb[16], id[64], action[16];
  int64_t seconds = 0;
  int words = sscanf(line, "%15s %63s %15s %" SCNd64, verb, id, action, &seconds);
  int is_withdrawal = words == 3 && strcmp(verb, "withdraw") == 0;
  size_t i = 0;
  snooze_notice notice = {.struct_size = sizeof notice, .severity = SNOOZE_SEVERITY_URGENT, .notice_kind = SNOOZE_NOTICE_DEADLINE};
  while (words >= 3 && i < sizeof ACTIONS / sizeof ACTIONS[0] && strcmp(action, ACTIONS[i].name) != 0) {
    i++;
  }
  if (words < 3 || i == sizeof ACTIONS / sizeof ACTIONS[0] || (!is_withdrawal && (words != 4 || seconds < 0 || seconds > 1000000))) {
    snooze_logf(self->host, SNOOZE_LOG_WARNING, "nimbus said something strange: %.200s", line);
    return;
  }
  notice.action = ACTIONS[i].action;
  notice.when = is_withdrawal ? SNOOZE_WHEN_UNKNOWN : SNOOZE_WHEN_IN;
  notice.when_ns = seconds * 1000000000;
  notice.provider = SNOOZE_STR("nimbus");
  notice.notice_id = snooze_str_from(id);
  notice.event_type = snooze_str_from(ACTIONS[i].event_type);
  notice.raw = snooze_str_from(line);
  (is_withdrawal ? source->withdrawn : source->notice)(source, &notice, NULL);
}

static void tell_health(const snooze_source_host *source, uint32_t state, const char *why)
{
  snooze_source_health health = {sizeof health, state, PROMISE_MS, snooze_str_from(why)};
  source->health(source, &health);
}

static snooze_status run(const snooze_plugin *plugin, const snooze_source_host *source)
{
  struct nimbus *self = plugin->ctx;
  struct pollfd waits[2] = {{.fd = -1, .events = POLLIN}, {.fd = source->stop_fd, .events = POLLIN}};
  snooze_machine machine = {.struct_size = sizeof machine, .provider = SNOOZE_STR("nimbus"), .instance_id = SNOOZE_STR("drop-1")};
  char line[512];
  ssize_t length;
  source->machine(source, &machine);
  unlink(self->address.sun_path);
  waits[0].fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  if (waits[0].fd < 0 || bind(waits[0].fd, (struct sockaddr *)&self->address, sizeof self->address) != 0) {
    int wrong = errno;
    if (waits[0].fd >= 0) {
      close(waits[0].fd);
    }
    /* The host says that this source is blind, waits, and calls run again. */
    return snooze_failf(self->host, SNOOZE_E_IO, "%s: %s", self->address.sun_path, strerror(wrong));
  }
  while (waits[1].revents == 0) {
    tell_health(source, SNOOZE_SOURCE_SEEING, "");
    if (poll(waits, 2, PAUSE_MS) > 0 && waits[0].revents != 0) {
      length = recv(waits[0].fd, line, sizeof line - 1, MSG_DONTWAIT);
      line[length > 0 ? length : 0] = '\0';
      hear(self, source, line);
    }
  }
  close(waits[0].fd);
  unlink(self->address.sun_path);
  return SNOOZE_OK;
}

/* On another thread, possibly beside run: only `acknowledgements`, which never changes, is touched. */
static void over(const snooze_plugin *plugin, const snooze_over *over)
{
  const struct nimbus *self = plugin->ctx;
  FILE *file = fopen(self->acknowledgements, "a");
  if (file == NULL) {
    snooze_failf(self->host, SNOOZE_E_IO, "cannot write %s: %s", self->acknowledgements, strerror(errno));
    return;
  }
  for (size_t i = 0; i < sizeof over->event_id; i++) {
    fprintf(file, "%02x", over->event_id[i]);
  }
  fprintf(file, " %s\n", over->outcome == SNOOZE_OVER_HANDLED ? "handled" : "failed");
  fclose(file);
}

/* `stop` is left out: run watches stop_fd. */
static const snooze_source SOURCE = {.struct_size = sizeof SOURCE, .run = run, .over = over};

static const void *get_extension(const snooze_plugin *plugin, const char *id)
{
  (void)plugin;
  return strcmp(id, SNOOZE_EXTENSION_SOURCE) == 0 ? &SOURCE : NULL;
}

/* It can also stand among the handlers, where it has nothing to do. */
static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  (void)plugin, (void)event, (void)call;
  return SNOOZE_SKIPPED;
}

static void deactivate(const snooze_plugin *plugin) { (void)plugin; /* run has returned before, and closed what it opened. */ }
static void destroy(const snooze_plugin *plugin) { free(plugin->ctx); }

static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  struct nimbus *self = calloc(1, sizeof *self);
  if (self == NULL) {
    return SNOOZE_E_NO_MEMORY;
  }
  if (snooze_json_text(args->config, "socket", self->address.sun_path, sizeof self->address.sun_path) != SNOOZE_OK ||
      snooze_json_text(args->config, "acknowledgements", self->acknowledgements, sizeof self->acknowledgements) != SNOOZE_OK) {
    free(self);
    return snooze_failf(host, SNOOZE_E_CONFIG, "\"socket\" (107 bytes at most) and \"acknowledgements\" are paths");
  }
  self->address.sun_family = AF_UNIX;
  self->host = host;
  self->table = (snooze_plugin){.struct_size = sizeof self->table, .ctx = self, .on_event = on_event,
                                .deactivate = deactivate, .destroy = destroy, .get_extension = get_extension};
  *out = &self->table;
  return SNOOZE_OK;
}

static const char *config_schema(void)
{
  return "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"socket\",\"acknowledgements\"],\"properties\":{"
         "\"socket\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":107,\"description\":\"Socket at which nimbus is heard\"},"
         "\"acknowledgements\":{\"type\":\"string\",\"minLength\":1,\"description\":\"File that gets a line for each event\"}}}";
}

static const snooze_class NIMBUS = {
    sizeof(snooze_class), 0, SNOOZE_CAP_SOURCE, "org.cloudsnooze.example.source", "source", "1.0.0",
    "Brings the notices of the fictional cloud nimbus", config_schema, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &NIMBUS);
