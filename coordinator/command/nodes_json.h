// What a daemon answered, as a JSON object on a line of its own. docs/nodes.md lists its members. One thread.
#pragma once

#include <stdio.h>

#include "coordinator/daemons/poll.h"

bool nodes_json_write(const struct poll_node *node, FILE *out, struct error *error);
