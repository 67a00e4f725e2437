// What daemons answered, as people read it: a table of daemons, one of their devices and one of the stages that run. One thread.
#pragma once

#include <stdbool.h>

#include "coordinator/daemons/poll.h"

// On stdout. False when memory is out; what cannot be written is seen by main.
bool nodes_tables_print(const struct poll *poll);
