// The coordinator's sign of life on every session, from a thread of its own: a daemon must not take the coordinator for
// lost while that fills a slow network with parameters or waits for a disk. A process that hangs as a whole falls
// silent all the same.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "coordinator/run/stage_session.h"

struct heartbeat;

// Every PROTOCOL_HEARTBEAT_MS; borrows the sessions until heartbeat_stop.
bool heartbeat_start(struct stage_session *const *sessions, uint32_t count, struct heartbeat **ret_heartbeat,
		     struct error *error);
void heartbeat_stop(struct heartbeat *heartbeat); // takes NULL; waits for the thread
