/* Everything of the border as a C compiler sees it: from the entry record every table can be reached. Built with debugging
 * information for the witnesses of its layout. Apache-2.0. */

#include <cloudsnooze/cloudsnooze.h>

const snooze_entry snooze_plugin_entry_v1 = {SNOOZE_ENTRY_MAGIC};
