/* A plugin of a version that does not exist yet: every table is larger than today's, what lies behind today's end must not be
 * touched (the addresses there belong to nobody), and every word of flags has bits that nobody knows.
 *
 * -DREQUIRED=n: the minor version that it cannot live without. Configuration: {"file": "/path"}. Apache-2.0. */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

#ifndef REQUIRED
#define REQUIRED 0
#endif

/* Not canonical on any 64-bit machine of today: whoever calls or reads it, dies. */
#define NOBODY ((void *)0xdead00000000beefULL)
#define TAIL 16

struct future_plugin {
  snooze_plugin now;
  void *later[TAIL];
};

struct exhibit {
  struct future_plugin table;
  const snooze_host *host;
  char file[4096];
};

static void note(const struct exhibit *self, const char *line, size_t length)
{
  int fd = open(self->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  ssize_t written = fd >= 0 ? write(fd, line, length) : -1;
  (void)written;
  if (fd >= 0) {
    close(fd);
  }
}

#define NOTE(self, what) note(self, NAME " " what "\n", sizeof(NAME " " what "\n") - 1)

static snooze_status activate(const snooze_plugin *plugin)
{
  const struct exhibit *self = plugin->ctx;
  static const char *const KINDS[] = {"custom.museum.*", NULL};
  struct {
    snooze_subscription now;
    void *later[TAIL];
  } wanted = {{sizeof wanted, 70, KINDS, 0xffff000000000000ULL, NULL, 5000000}, {NOBODY}};
  return self->host->subscribe(self->host, &wanted.now, NULL);
}

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct exhibit *self = plugin->ctx;
  struct {
    snooze_log_record now;
    void *later[TAIL];
  } record = {{sizeof record, SNOOZE_LOG_INFO, SNOOZE_STR("an event from the past"), NULL, 0}, {NOBODY}};
  (void)event;
  self->host->log(self->host, &record.now);
  NOTE(self, "handled");
  return snooze_set_result(self->host, call, SNOOZE_STR("{\"from\":\"the future\"}"));
}

static void deactivate(const snooze_plugin *plugin) { (void)plugin; }

static void destroy(const snooze_plugin *plugin)
{
  NOTE((struct exhibit *)plugin->ctx, "destroyed");
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
    return SNOOZE_E_CONFIG;
  }
  self->host = host;
  self->table.now.struct_size = sizeof self->table;
  self->table.now.ctx = self;
  self->table.now.activate = activate;
  self->table.now.on_event = on_event;
  self->table.now.deactivate = deactivate;
  self->table.now.destroy = destroy;
  for (int i = 0; i < TAIL; i++) {
    self->table.later[i] = NOBODY;
  }
  NOTE(self, "created");
  *out = &self->table.now;
  return SNOOZE_OK;
}

static const struct {
  snooze_class now;
  void *later[TAIL];
} CLASS = {{sizeof CLASS, 0, SNOOZE_CAP_PROCESS_OK | 0xffff000000000000ULL, "org.cloudsnooze.museum." NAME, NAME, "9.0.0",
            "An exhibit that is not there yet", NULL, create},
           {NOBODY}};

static const snooze_class *const CLASSES[] = {&CLASS.now};

/* The symbol is larger than today's record as well. */
struct future_entry {
  snooze_entry now;
  void *later[TAIL];
};
extern __attribute__((visibility("default"))) const struct future_entry future
    __asm__("snooze_plugin_entry_v1");
__attribute__((used)) const struct future_entry future = {
    {SNOOZE_ENTRY_MAGIC, SNOOZE_ABI_MAJOR, SNOOZE_ABI_MINOR + 5, REQUIRED, 64, sizeof(struct future_entry), 0xffff0000u,
     0x1234567890abcdefULL, {1, 2, 3, 4}, CLASSES, 1, "nobody yet", "Apache-2.0", "", SNOOZE_SDK},
    {NOBODY}};
