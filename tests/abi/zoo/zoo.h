/* What every plugin of the zoo shares: a whole plugin around one defect.
 *
 * A file of the zoo defines `defect` and includes this header first. The defect strikes in the function that the
 * configuration names ({"when": "on_event"}, the default; create, activate, warm_up, on_cancel, verify, deactivate and
 * destroy are the others), every time that function is called. -DNAME="...": its name. C11 and C++17. Apache-2.0. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

#ifndef CAPS
#define CAPS 0
#endif
#ifndef CLASS_NAME
#define CLASS_NAME NAME
#endif
#ifndef SCHEMA
#define SCHEMA                                                                                     \
  "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"when\":{\"type\":\"string\"," \
  "\"default\":\"on_event\",\"description\":\"the function in which the defect strikes\"}}}"
#endif

struct zoo {
  snooze_plugin table;
  const snooze_host *host;
  char when[32];
};

/* The defect. Event and call are NULL outside of on_event, verify and on_cancel, the event in on_cancel too. What it
 * returns is what the function answers. */
static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call);

static snooze_status strike(const snooze_plugin *plugin, const char *here, const snooze_event *event,
                            const snooze_call *call)
{
  struct zoo *self = (struct zoo *)plugin->ctx;
  return strcmp(self->when, here) == 0 ? defect(self, event, call) : SNOOZE_OK;
}

/* Waits without burning CPU and without being cancelled. */
static inline void zoo_sleep_ms(long ms)
{
  struct timespec left = {ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&left, &left) != 0) {
  }
}

static snooze_status zoo_activate(const snooze_plugin *plugin) { return strike(plugin, "activate", NULL, NULL); }

static void zoo_warm_up(const snooze_plugin *plugin) { strike(plugin, "warm_up", NULL, NULL); }

static snooze_status zoo_on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  return strike(plugin, "on_event", event, call);
}

static void zoo_on_cancel(const snooze_plugin *plugin, const snooze_call *call, uint32_t reason)
{
  (void)reason;
  strike(plugin, "on_cancel", NULL, call);
}

static snooze_status zoo_verify(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  return strike(plugin, "verify", event, call);
}

static void zoo_deactivate(const snooze_plugin *plugin) { strike(plugin, "deactivate", NULL, NULL); }

static void zoo_destroy(const snooze_plugin *plugin)
{
  strike(plugin, "destroy", NULL, NULL);
  free(plugin->ctx);
}

#ifndef ZOO_GET_EXTENSION
#define ZOO_GET_EXTENSION NULL
#else
static const void *ZOO_GET_EXTENSION(const snooze_plugin *plugin, const char *id);
#endif

static snooze_status zoo_create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  static const char *const ALL[] = {"*", NULL};
  snooze_subscription subscription;
  snooze_status status;
  struct zoo *self = (struct zoo *)calloc(1, sizeof *self);
  if (self == NULL) {
    return snooze_failf(host, SNOOZE_E_NO_MEMORY, "no memory");
  }
  self->host = host;
  strcpy(self->when, "on_event");
  snooze_json_text(args->config, "when", self->when, sizeof self->when);
  self->table.struct_size = sizeof self->table;
  self->table.ctx = self;
  self->table.activate = zoo_activate;
  self->table.warm_up = zoo_warm_up;
  self->table.on_event = zoo_on_event;
  self->table.on_cancel = zoo_on_cancel;
  self->table.verify = zoo_verify;
  self->table.deactivate = zoo_deactivate;
  self->table.destroy = zoo_destroy;
  self->table.get_extension = ZOO_GET_EXTENSION;
  memset(&subscription, 0, sizeof subscription);
  subscription.struct_size = sizeof subscription;
  subscription.priority = 50;
  subscription.kinds = ALL;
  host->subscribe(host, &subscription, NULL);
  status = strike(&self->table, "create", NULL, NULL);
  if (status < 0) {
    free(self);
    return status;
  }
  *out = &self->table;
  return SNOOZE_OK;
}

static const char *zoo_schema(void) { return SCHEMA; }

#ifndef ZOO_CREATE
#define ZOO_CREATE zoo_create
#else
static snooze_status ZOO_CREATE(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out);
#endif

static const snooze_class CLASS = {sizeof(snooze_class), 0, CAPS, "org.cloudsnooze.zoo." NAME, CLASS_NAME, "1.0.0",
                                   "One defect",         zoo_schema, ZOO_CREATE};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &CLASS);
