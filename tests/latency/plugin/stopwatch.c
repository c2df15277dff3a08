/* A plugin that does nothing but tell when it was called: what `ours` is measured with.
 *
 * Configuration: "slots" is a file of slots (handler/slot.h) to map, "index" the number of this instance's own, as text.
 * Built twice from this file: as an ordinary plugin, and with -DCAPS=SNOOZE_CAP_REALTIME as one that promises never to
 * block and may be called on the thread that read the notice. Apache-2.0. */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

#include "../handler/slot.h"

#ifndef PLUGIN_NAME
#define PLUGIN_NAME "stopwatch"
#endif
#ifndef CAPS
#define CAPS 0
#endif

struct stopwatch {
  snooze_plugin table;
  struct latency_slot *slot;
};

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct stopwatch *self = plugin->ctx;
  (void)event;
  (void)call;
  latency_mark(self->slot);
  return SNOOZE_OK;
}

static void deactivate(const snooze_plugin *plugin) { (void)plugin; /* Nothing was started. */ }
/* The mapping stays: a handful of pages, gone with the process. */
static void destroy(const snooze_plugin *plugin) { free(plugin->ctx); }

static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  char path[4096] = "", index_text[16] = "";
  struct stopwatch *self;
  size_t index;
  void *slots;
  int fd;
  if (snooze_json_text(args->config, "slots", path, sizeof path) != SNOOZE_OK ||
      snooze_json_text(args->config, "index", index_text, sizeof index_text) != SNOOZE_OK) {
    return snooze_failf(host, SNOOZE_E_CONFIG, "the configuration needs \"slots\" and \"index\"");
  }
  index = (size_t)strtoul(index_text, NULL, 10);
  fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    return snooze_failf(host, SNOOZE_E_IO, "cannot open %s: %s", path, strerror(errno));
  }
  slots = mmap(NULL, (index + 1) * sizeof(struct latency_slot), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  close(fd);
  if (slots == MAP_FAILED) {
    return snooze_failf(host, SNOOZE_E_IO, "cannot map %s: %s", path, strerror(errno));
  }
  self = calloc(1, sizeof *self);
  if (self == NULL) {
    return SNOOZE_E_NO_MEMORY;
  }
  self->slot = (struct latency_slot *)slots + index;
  self->table = (snooze_plugin){.struct_size = sizeof self->table, .ctx = self, .on_event = on_event,
                                .deactivate = deactivate, .destroy = destroy};
  *out = &self->table;
  return SNOOZE_OK;
}

static const char *config_schema(void)
{
  return "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"slots\",\"index\"],\"properties\":{"
         "\"slots\":{\"type\":\"string\"},\"index\":{\"type\":\"string\"}}}";
}

static const snooze_class STOPWATCH = {sizeof(snooze_class), 0, CAPS, "org.cloudsnooze.latency." PLUGIN_NAME, PLUGIN_NAME,
                                       "1.0.0", "Tells when it was called", config_schema, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &STOPWATCH);
