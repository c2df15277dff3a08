/* A source of notices that goes wrong in the way its configuration names. Apache-2.0.
 *
 * Configuration: {"mode": "...", "file": "/path"}. Once it has done what its mode says, it waits for its end. Modes:
 * garbage (all of it is refused, then one good notice), deaf (does not come back until FILE exists), silent (promises to show
 * itself and does not), fails, panics, crashes (once: FILE is made before), no table (offers the extension without run). */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

struct self {
  snooze_plugin table;
  const snooze_host *host;
  char mode[32], file[4096];
};

static int is(const struct self *self, const char *mode) { return strcmp(self->mode, mode) == 0; }

static snooze_notice good(void)
{
  snooze_notice notice = {.struct_size = sizeof notice, .severity = SNOOZE_SEVERITY_WARNING, .action = SNOOZE_ACTION_REBOOT,
                          .notice_kind = SNOOZE_NOTICE_ADVISORY};
  notice.provider = SNOOZE_STR("nimbus");
  notice.notice_id = SNOOZE_STR("the good one");
  notice.event_type = SNOOZE_STR("custom.nimbus.storm");
  return notice;
}

static void garbage(const struct self *self, const snooze_source_host *source)
{
  static char large[(1 << 20) + 1];
  unsigned char id[16];
  int refused = 0;
  memset(large, 'x', sizeof large);
  for (int i = 0; i < 8; i++) {
    snooze_notice notice = good();
    snooze_machine machine = {.struct_size = sizeof machine, .provider = SNOOZE_STR("NIMBUS")};
    snooze_source_health health = {.struct_size = sizeof health, .state = 77, .next_within_ms = 1000};
    const snooze_notice *told = &notice;
    switch (i) {
    case 0: told = NULL; break;
    case 1: notice.struct_size = 4; break;
    case 2: notice.raw = snooze_str_of(large, sizeof large); break;
    case 3: notice.notice_id = SNOOZE_STR("\xff\xfe"); break;
    case 4: notice.action = 4711; break;
    case 5: notice.resource_count = (size_t)-1; break;
    case 6: notice.raw = snooze_str_of(NULL, 1); break;
    default: notice.event_type = SNOOZE_STR("Not A Type"); break;
    }
    refused += source->notice(source, told, id) == SNOOZE_E_INVALID;
    refused += source->withdrawn(source, told, NULL) == SNOOZE_E_INVALID;
    refused += source->machine(source, &machine) == SNOOZE_E_INVALID;
    refused += source->health(source, &health) == SNOOZE_E_INVALID;
  }
  if (refused == 32) {
    snooze_notice notice = good();
    source->notice(source, &notice, id);
  }
  snooze_logf(self->host, SNOOZE_LOG_INFO, "%d refused", refused);
}

static snooze_status run(const snooze_plugin *plugin, const snooze_source_host *source)
{
  struct self *self = plugin->ctx;
  struct pollfd stopped = {source->stop_fd, POLLIN, 0};
  snooze_source_health health = {sizeof health, SNOOZE_SOURCE_SEEING, is(self, "silent") ? 1 : 600000, SNOOZE_STR("")};
  source->health(source, &health);
  if (is(self, "garbage")) {
    garbage(self, source);
  } else if (is(self, "fails")) {
    return snooze_failf(self->host, SNOOZE_E_IO, "the barometer is broken");
  } else if (is(self, "panics")) {
    return snooze_failf(self->host, SNOOZE_E_PANIC, "panicked in a storm");
  } else if (is(self, "crashes") && access(self->file, F_OK) != 0) {
    close(open(self->file, O_WRONLY | O_CREAT, 0600));
    abort();
  }
  poll(&stopped, 1, -1);
  /* A minute at most, so that nothing is left behind when the test is gone. */
  for (int i = 0; is(self, "deaf") && i < 600 && access(self->file, F_OK) != 0; i++) {
    poll(NULL, 0, 100);
  }
  return SNOOZE_OK;
}

static const snooze_source SOURCE = {.struct_size = sizeof SOURCE, .run = run};
static const snooze_source NOTHING = {.struct_size = sizeof NOTHING};

static const void *get_extension(const snooze_plugin *plugin, const char *id)
{
  const struct self *self = plugin->ctx;
  return strcmp(id, SNOOZE_EXTENSION_SOURCE) != 0 ? NULL : is(self, "no table") ? &NOTHING : &SOURCE;
}

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  (void)plugin, (void)event, (void)call;
  return SNOOZE_SKIPPED;
}

static void deactivate(const snooze_plugin *plugin) { (void)plugin; }
static void destroy(const snooze_plugin *plugin) { free(plugin->ctx); }

static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  struct self *self = calloc(1, sizeof *self);
  if (self == NULL) {
    return SNOOZE_E_NO_MEMORY;
  }
  snooze_json_text(args->config, "mode", self->mode, sizeof self->mode);
  snooze_json_text(args->config, "file", self->file, sizeof self->file);
  self->host = host;
  self->table = (snooze_plugin){.struct_size = sizeof self->table, .ctx = self, .on_event = on_event,
                                .deactivate = deactivate, .destroy = destroy, .get_extension = get_extension};
  *out = &self->table;
  return SNOOZE_OK;
}

static const snooze_class CLASS = {
    sizeof(snooze_class), 0, SNOOZE_CAP_SOURCE, "org.cloudsnooze.test.source", PLUGIN_NAME, "1.0.0", "Goes wrong", NULL, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &CLASS);
