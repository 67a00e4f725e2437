// One line of what the daemon does, for `systemctl status`. Loop's thread.
#pragma once

#include <stddef.h>

#include "stage_server/session/session.h"

// "2 sessions, step 41 of job vgg16"; `stopping`: how it ends, NULL: it serves.
void status_describe(struct session_host *sessions, const char *stopping, char *into, size_t size);
