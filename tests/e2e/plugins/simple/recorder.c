/* A plugin that records every call it gets, one line of JSON each, and can be held up by a missing file.
 *
 * Configuration: "file" gets the lines; "tag" is told in each; "gate" is a file that a handled event waits for; "create_gate"
 * is one that create waits for, a minute at most; "say" is told when the instance is made; "refuse" has create fail with this
 * text; "count" is there to be wrong. Apache-2.0. */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

#ifndef PLUGIN_NAME
#define PLUGIN_NAME "recorder"
#endif

struct recorder {
  snooze_plugin table;
  const snooze_host *host;
  char file[4096], gate[4096], tag[64], say[256];
};

static void member(snooze_json *line, const char *name, snooze_str text)
{
  snooze_json_raw(line, ",\"");
  snooze_json_raw(line, name);
  snooze_json_raw(line, "\":");
  snooze_json_string(line, text);
}

static void number(snooze_json *line, const char *name, long long value)
{
  char text[64];
  snprintf(text, sizeof text, ",\"%s\":%lld", name, value);
  snooze_json_raw(line, text);
}

/* One write a line: several threads and processes may append to the file. */
static void finish(const struct recorder *self, snooze_json *line)
{
  int fd;
  snooze_json_raw(line, "}\n");
  fd = open(self->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd < 0 || !snooze_json_fits(line) || write(fd, line->data, line->length) != (ssize_t)line->length) {
    snooze_logf(self->host, SNOOZE_LOG_ERROR, "cannot record in %s", self->file);
  }
  if (fd >= 0) {
    close(fd);
  }
}

static void begin(const struct recorder *self, snooze_json *line, const char *what)
{
  snooze_json_raw(line, "{\"what\":");
  snooze_json_string(line, snooze_str_from(what));
  member(line, "tag", snooze_str_from(self->tag));
}

static void record(const struct recorder *self, const char *what)
{
  char buffer[1024];
  snooze_json line = {buffer, sizeof buffer, 0};
  begin(self, &line, what);
  if (strcmp(what, "create") == 0) {
    member(&line, "say", snooze_str_from(self->say));
  }
  finish(self, &line);
}

static void record_call(const struct recorder *self, const char *what, const snooze_event *event, const snooze_call *call)
{
  char buffer[4096];
  snooze_json line = {buffer, sizeof buffer, 0};
  begin(self, &line, what);
  member(&line, "type", snooze_event_text(self->host, event, SNOOZE_FIELD_TYPE));
  member(&line, "id", snooze_event_text(self->host, event, SNOOZE_FIELD_ID));
  member(&line, "action", snooze_event_text(self->host, event, SNOOZE_FIELD_ACTION));
  member(&line, "cancels", snooze_event_text(self->host, event, SNOOZE_FIELD_CANCELS));
  number(&line, "left_ms", snooze_left_ms(self->host, call));
  number(&line, "reason", snooze_cancelled(call));
  finish(self, &line);
}

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct recorder *self = plugin->ctx;
  record_call(self, "begin", event, call);
  while (self->gate[0] != '\0' && access(self->gate, F_OK) != 0) {
    struct pollfd cancelled = {self->host->cancel_fd(self->host, call), POLLIN, 0};
    if (snooze_cancelled(call) != SNOOZE_CANCEL_NONE) {
      record_call(self, "stopped", event, call);
      return snooze_failf(self->host, SNOOZE_E_CANCELLED, "cancelled for reason %u", snooze_cancelled(call));
    }
    poll(&cancelled, 1, 10);
  }
  record_call(self, "end", event, call);
  snooze_set_result(self->host, call, SNOOZE_STR("{\"recorded\":true}"));
  return SNOOZE_OK;
}

/* Only an event whose end stands in the file was handled. */
static snooze_status verify(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct recorder *self = plugin->ctx;
  snooze_str id = snooze_event_text(self->host, event, SNOOZE_FIELD_ID);
  char line[4096], wanted[128];
  FILE *file = fopen(self->file, "r");
  int found = 0;
  (void)call;
  if (file == NULL) {
    return snooze_failf(self->host, SNOOZE_E_IO, "cannot read %s", self->file);
  }
  snprintf(wanted, sizeof wanted, "\"id\":\"%.*s\"", (int)id.len, id.ptr);
  while (!found && fgets(line, sizeof line, file) != NULL) {
    found = strncmp(line, "{\"what\":\"end\"", 13) == 0 && strstr(line, wanted) != NULL;
  }
  fclose(file);
  return found ? SNOOZE_OK : snooze_failf(self->host, SNOOZE_E_NOT_FOUND, "no end of this event is recorded");
}

static snooze_status activate(const snooze_plugin *plugin)
{
  record(plugin->ctx, "activate");
  return SNOOZE_OK;
}

static void deactivate(const snooze_plugin *plugin) { record(plugin->ctx, "deactivate"); }

static void destroy(const snooze_plugin *plugin)
{
  record(plugin->ctx, "destroy");
  free(plugin->ctx);
}

/* Absent members stay empty. */
static void setting(snooze_str config, const char *key, char *out, size_t capacity)
{
  if (snooze_json_text(config, key, out, capacity) != SNOOZE_OK) {
    out[0] = '\0';
  }
}

static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  struct recorder *self = calloc(1, sizeof *self);
  char refuse[256], create_gate[4096];
  if (self == NULL) {
    return SNOOZE_E_NO_MEMORY;
  }
  self->host = host;
  self->table = (snooze_plugin){.struct_size = sizeof self->table, .ctx = self, .activate = activate,
                                .on_event = on_event, .deactivate = deactivate, .destroy = destroy, .verify = verify};
  setting(args->config, "file", self->file, sizeof self->file);
  setting(args->config, "gate", self->gate, sizeof self->gate);
  setting(args->config, "tag", self->tag, sizeof self->tag);
  setting(args->config, "say", self->say, sizeof self->say);
  setting(args->config, "refuse", refuse, sizeof refuse);
  setting(args->config, "create_gate", create_gate, sizeof create_gate);
  record(self, "create");
  for (int i = 0; create_gate[0] != '\0' && access(create_gate, F_OK) != 0 && i < 6000; i++) {
    poll(NULL, 0, 10);
  }
  if (refuse[0] != '\0') {
    free(self);
    return snooze_failf(host, SNOOZE_E_CONFIG, "%s", refuse);
  }
  *out = &self->table;
  return SNOOZE_OK;
}

static const char *config_schema(void)
{
  return "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"file\"],\"properties\":{"
         "\"file\":{\"type\":\"string\",\"minLength\":1},\"gate\":{\"type\":\"string\"},\"tag\":{\"type\":\"string\"},"
         "\"create_gate\":{\"type\":\"string\"},"
         "\"say\":{\"type\":\"string\"},\"refuse\":{\"type\":\"string\"},\"count\":{\"type\":\"integer\",\"minimum\":1}}}";
}

static const snooze_class RECORDER = {
    sizeof(snooze_class), 0, 0, "org.cloudsnooze.test." PLUGIN_NAME, PLUGIN_NAME, "1.0.0",
    "Records every call in a file", config_schema, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &RECORDER);
