/* Everything a C plugin needs. Apache-2.0. */

#ifndef CLOUDSNOOZE_CLOUDSNOOZE_H
#define CLOUDSNOOZE_CLOUDSNOOZE_H

#include "cloudsnooze/event.h"
#include "cloudsnooze/host.h"
#include "cloudsnooze/layout.h"
#include "cloudsnooze/plugin.h"
#include "cloudsnooze/plugin_util.h"
#include "cloudsnooze/source.h"
#include "cloudsnooze/status.h"
#include "cloudsnooze/text.h"
#include "cloudsnooze/version.h"

#endif /* CLOUDSNOOZE_CLOUDSNOOZE_H */
