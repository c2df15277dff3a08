/* A second activate finds what deactivate left lying about. */

#define ZOO_CREATE create_once
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}

static snooze_status activate_once(const snooze_plugin *plugin)
{
  struct zoo *self = (struct zoo *)plugin->ctx;
  if (self->when[31] != 0) {
    return snooze_failf(self->host, SNOOZE_E_STATE, "it is active already");
  }
  self->when[31] = 1;
  return SNOOZE_OK;
}

static snooze_status create_once(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  snooze_status status = zoo_create(host, args, out);
  if (status == SNOOZE_OK) {
    ((struct zoo *)(*out)->ctx)->table.activate = activate_once;
  }
  return status;
}
