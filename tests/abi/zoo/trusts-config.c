/* Crashes on a configuration that it does not expect. */

#define ZOO_CREATE create_trustingly
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}

static snooze_status create_trustingly(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  const char *end = (const char *)memchr(args->config.ptr, '}', args->config.len);
  if (*(const volatile char *)end != '}') {
    return snooze_failf(host, SNOOZE_E_CONFIG, "no object");
  }
  return zoo_create(host, args, out);
}
