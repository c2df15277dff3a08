/* Exhibit in C99: every service of the host of 1.0 and every function of a plugin but the realtime and the asynchronous ones,
 * straight through the tables. What it found goes into the result. It must never change: what was built from it is here.
 *
 * Configuration: {"file": "/path"}; "fail" has on_event fail with this text. Apache-2.0. */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

struct exhibit {
  snooze_plugin table;
  const snooze_host *host;
  char file[4096], fail[256], handled[64];
  uint32_t own_field;
  int warmed, has_retained;
};

static void note(const struct exhibit *self, const char *what, snooze_str more)
{
  char line[256];
  int length = snprintf(line, sizeof line, NAME " %s%s%.*s\n", what, more.len > 0 ? " " : "", (int)more.len, more.ptr);
  int fd = open(self->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd >= 0) {
    if (length <= 0 || (size_t)length >= sizeof line || write(fd, line, (size_t)length) != length) {
      snooze_logf(self->host, SNOOZE_LOG_ERROR, "cannot note %s", what);
    }
    close(fd);
  }
}

static snooze_status activate(const snooze_plugin *plugin)
{
  struct exhibit *self = plugin->ctx;
  static const char *const KINDS[] = {"custom.museum.*", NULL};
  snooze_subscription wanted = {sizeof wanted, 70, KINDS, 0, self, 5000000};
  uint64_t id = 0, unwanted = 0;
  if (self->host->subscribe(self->host, &wanted, &id) != SNOOZE_OK ||
      self->host->subscribe(self->host, &wanted, &unwanted) != SNOOZE_OK ||
      self->host->unsubscribe(self->host, unwanted) != SNOOZE_OK) {
    return self->host->report_error(self->host, SNOOZE_E_INTERNAL, SNOOZE_STR("the host takes no subscription"));
  }
  self->own_field = self->host->field_id(self->host, SNOOZE_STR("data.rows"));
  note(self, "activated", SNOOZE_STR(""));
  return SNOOZE_OK;
}

static void warm_up(const snooze_plugin *plugin)
{
  struct exhibit *self = plugin->ctx;
  __atomic_store_n(&self->warmed, 1, __ATOMIC_RELAXED);
}

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  struct exhibit *self = plugin->ctx;
  const snooze_host *host = self->host;
  snooze_log_record record = {sizeof record, SNOOZE_LOG_INFO, SNOOZE_STR("an exhibit handles an event"), NULL, 0};
  snooze_str type = {NULL, 0}, id = {NULL, 0}, json = {NULL, 0};
  snooze_bytes bytes = {NULL, 0};
  int64_t rows = 0;
  double rows_as_number = 0;
  char result[512];
  if (self->fail[0] != '\0') {
    return host->report_error(host, SNOOZE_E_IO, snooze_str_from(self->fail));
  }
  if (host->log_enabled(host, SNOOZE_LOG_INFO)) {
    host->log(host, &record);
  }
  host->event_retain(host, event);
  host->event_str(host, event, SNOOZE_FIELD_TYPE, &type);
  host->event_str(host, event, SNOOZE_FIELD_ID, &id);
  host->event_bytes(host, event, SNOOZE_FIELD_ID, &bytes);
  host->event_i64(host, event, self->own_field, &rows);
  host->event_f64(host, event, self->own_field, &rows_as_number);
  host->event_json(host, event, &json);
  host->progress(host, call, 500, SNOOZE_STR("half"));
  snprintf(self->handled, sizeof self->handled, "%.*s", (int)id.len, id.ptr);
  snprintf(result, sizeof result,
           "{\"type\":\"%.*s\",\"rows\":%lld,\"number\":%g,\"json\":%d,\"bytes\":%d,\"head\":%d,\"left\":%d,\"fd\":%d,"
           "\"cancelled\":%u,\"attempt\":%u,\"handler\":%d,\"warmed\":%d,\"unknown\":%d,\"missing\":%d}",
           (int)type.len, type.ptr, (long long)rows, rows_as_number, json.len > 2 && json.ptr[0] == '{',
           bytes.len == id.len && memcmp(bytes.ptr, id.ptr, id.len) == 0,
           event->struct_size >= 64 && event->detected_boot_ns > 0 && event->severity == SNOOZE_SEVERITY_URGENT,
           host->left_ns(host, call) > 0 && call->deadline_boot_ns > 0, host->cancel_fd(host, call) >= 0,
           snooze_cancelled(call), call->attempt, call->handler == self, __atomic_load_n(&self->warmed, __ATOMIC_RELAXED),
           host->get_extension(host, "org.cloudsnooze.none/1") != NULL, host->event_i64(host, event, SNOOZE_FIELD_CANCELS, &rows));
  host->event_release(host, event);
  note(self, "handled", id);
  return host->set_result(host, call, snooze_str_from(result));
}

static void on_cancel(const snooze_plugin *plugin, const snooze_call *call, uint32_t reason)
{
  (void)plugin, (void)call, (void)reason;
}

/* Only what on_event has seen was handled. */
static snooze_status verify(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct exhibit *self = plugin->ctx;
  snooze_str id = snooze_event_text(self->host, event, SNOOZE_FIELD_ID);
  (void)call;
  if (!snooze_str_eq(id, snooze_str_from(self->handled))) {
    return snooze_failf(self->host, SNOOZE_E_NOT_FOUND, "handled %s", self->handled);
  }
  return SNOOZE_OK;
}

static snooze_status reconfigure(const snooze_plugin *plugin, snooze_str config)
{
  (void)plugin, (void)config;
  return SNOOZE_E_UNSUPPORTED;
}

static const void *get_extension(const snooze_plugin *plugin, const char *id)
{
  (void)plugin, (void)id;
  return NULL;
}

static void deactivate(const snooze_plugin *plugin) { note(plugin->ctx, "deactivated", SNOOZE_STR("")); }

static void destroy(const snooze_plugin *plugin)
{
  note(plugin->ctx, "destroyed", SNOOZE_STR(""));
  free(plugin->ctx);
}

static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  struct exhibit *self = calloc(1, sizeof *self);
  if (self == NULL) {
    return SNOOZE_E_NO_MEMORY;
  }
  if (snooze_json_text(args->config, "file", self->file, sizeof self->file) != SNOOZE_OK) {
    free(self);
    return host->report_error(host, SNOOZE_E_CONFIG, SNOOZE_STR("the configuration needs \"file\""));
  }
  if (snooze_json_text(args->config, "fail", self->fail, sizeof self->fail) != SNOOZE_OK) {
    self->fail[0] = '\0';
  }
  self->host = host;
  self->table = (snooze_plugin){sizeof self->table, 0, self, activate, warm_up, on_event, on_cancel, reconfigure,
                                deactivate, destroy, get_extension, verify};
  note(self, "created", args->instance_name);
  *out = &self->table;
  return SNOOZE_OK;
}

static const char *config_schema(void)
{
  return "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"file\"],\"properties\":{"
         "\"file\":{\"type\":\"string\",\"minLength\":1},\"fail\":{\"type\":\"string\"}}}";
}

static const snooze_class CLASS = {
    sizeof(snooze_class), 0, SNOOZE_CAP_PROCESS_OK, "org.cloudsnooze.museum." NAME, NAME, "1.0.0",
    "An exhibit of the museum", config_schema, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &CLASS);
