// Hosts whose packets a listening socket is not to see (SO_ATTACH_FILTER): the kernel drops them, so that whoever is turned away and comes
// again, thousands of times a second, costs no thread the time to accept and close.
// Any thread.
#pragma once

#include "stage_server/limits/penalties.h"

// In the place of those before; 0 hosts: all are seen. False where the kernel does not do it.
bool listener_filter_set(int listener, const struct peer_host *hosts, uint32_t count);
// A connection inherits what its listener had.
void listener_filter_remove(int descriptor);
