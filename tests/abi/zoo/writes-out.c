/* Writes *out before it looks at the configuration, which it then refuses. */

#define ZOO_CREATE create_hastily
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}

static snooze_status create_hastily(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  snooze_str member;
  snooze_status status = zoo_create(host, args, out);
  if (status == SNOOZE_OK && snooze_json_find(args->config, "verify.unknown", &member) == SNOOZE_OK) {
    zoo_destroy(*out);
    return snooze_failf(host, SNOOZE_E_CONFIG, "unknown member");
  }
  return status;
}
