/* A complete CloudSnooze plugin in C99: appends one line of JSON about each event to a file, and proves it.
 * Configuration: {"file": "/path"}. Apache-2.0. */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

/* The host gets the address of `table` and gives it back to every function; `ctx` leads to the rest. */
struct minimal {
  snooze_plugin table;
  const snooze_host *host;
  char file[4096];
};

static const struct {
  const char *name;
  uint32_t id;
} FIELDS[] = {
    {"type", SNOOZE_FIELD_TYPE},         {"id", SNOOZE_FIELD_ID},                  {"source", SNOOZE_FIELD_SOURCE},
    {"severity", SNOOZE_FIELD_SEVERITY}, {"provider", SNOOZE_FIELD_PROVIDER},      {"action", SNOOZE_FIELD_ACTION},
    {"deadline", SNOOZE_FIELD_DEADLINE}, {"instanceID", SNOOZE_FIELD_INSTANCE_ID}, {"instanceType", SNOOZE_FIELD_INSTANCE_TYPE},
    {"zone", SNOOZE_FIELD_ZONE},         {"region", SNOOZE_FIELD_REGION},          {"noticeKind", SNOOZE_FIELD_NOTICE_KIND},
};

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct minimal *self = plugin->ctx;
  char buffer[4096];
  snooze_json line = {buffer, sizeof buffer, 0};
  int fd, saved;
  snooze_logf(self->host, SNOOZE_LOG_INFO, "event %llu of severity %u, %lld ms left", (unsigned long long)event->seq,
              event->severity, (long long)snooze_left_ms(self->host, call));
  snooze_json_raw(&line, "{\"plugin\":\"minimal\"");
  for (size_t i = 0; i < sizeof FIELDS / sizeof FIELDS[0]; i++) {
    snooze_json_raw(&line, ",\"");
    snooze_json_raw(&line, FIELDS[i].name);
    snooze_json_raw(&line, "\":");
    snooze_json_string(&line, snooze_event_text(self->host, event, FIELDS[i].id));
  }
  snooze_json_raw(&line, "}\n");
  if (!snooze_json_fits(&line)) {
    return snooze_failf(self->host, SNOOZE_E_TOO_SMALL, "the event makes a line of %zu bytes", line.length);
  }
  if (snooze_cancelled(call)) {
    return snooze_failf(self->host, SNOOZE_E_CANCELLED, "cancelled before the line was written");
  }
  /* One write of the whole line, then fsync: the machine is about to go away, and its page cache with it. */
  fd = open(self->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  errno = fd < 0 ? errno : ENOSPC; /* A short write sets no errno of its own. */
  saved = fd >= 0 && write(fd, buffer, line.length) == (ssize_t)line.length && fsync(fd) == 0;
  if (!saved) {
    snooze_failf(self->host, SNOOZE_E_IO, "cannot write %s: %s", self->file, strerror(errno));
  }
  if (fd >= 0) {
    close(fd);
  }
  snooze_set_result(self->host, call, saved ? SNOOZE_STR("{\"lines\":1}") : SNOOZE_STR("{\"lines\":0}"));
  return saved ? SNOOZE_OK : SNOOZE_E_IO;
}

/* Asked after a handled event: is the line with this event's id really in the file? */
static snooze_status verify(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct minimal *self = plugin->ctx;
  char wanted[128] = "", line[4096 + 1];
  snooze_json id = {wanted, sizeof wanted - 1, 0};
  FILE *file = fopen(self->file, "r");
  int found = 0;
  (void)call;
  if (file == NULL) {
    return snooze_failf(self->host, SNOOZE_E_IO, "cannot read %s: %s", self->file, strerror(errno));
  }
  snooze_json_raw(&id, ",\"id\":");
  snooze_json_string(&id, snooze_event_text(self->host, event, SNOOZE_FIELD_ID));
  while (!found && fgets(line, sizeof line, file) != NULL) {
    found = strstr(line, wanted) != NULL;
  }
  fclose(file);
  return found ? SNOOZE_OK : snooze_failf(self->host, SNOOZE_E_NOT_FOUND, "no line of %s holds %s", self->file, wanted);
}

static void deactivate(const snooze_plugin *plugin) { (void)plugin; /* No thread, timer or file is open. */ }
static void destroy(const snooze_plugin *plugin) { free(plugin->ctx); }

static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  struct minimal *self = calloc(1, sizeof *self);
  if (self == NULL) {
    return SNOOZE_E_NO_MEMORY;
  }
  if (snooze_json_text(args->config, "file", self->file, sizeof self->file) != SNOOZE_OK || self->file[0] == '\0') {
    free(self);
    return snooze_failf(host, SNOOZE_E_CONFIG, "the configuration needs \"file\": the path to write to");
  }
  self->host = host;
  self->table = (snooze_plugin){.struct_size = sizeof self->table, .ctx = self, .on_event = on_event,
                                .deactivate = deactivate, .destroy = destroy, .verify = verify};
  *out = &self->table;
  return SNOOZE_OK;
}

static const char *config_schema(void)
{
  return "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"file\"],\"properties\":{\"file\":"
         "{\"type\":\"string\",\"minLength\":1,\"description\":\"File that gets one line of JSON for each event\"}}}";
}

static const snooze_class MINIMAL = {
    sizeof(snooze_class), 0, SNOOZE_CAP_PROCESS_OK, "org.cloudsnooze.example.minimal", "minimal", "1.0.0",
    "Appends one line of JSON about each event to a file", config_schema, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &MINIMAL);
