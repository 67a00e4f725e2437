// Whether an address to listen on is written as it must be. Nothing is looked up or bound. Any thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

// HOST:PORT or [IPv6]:PORT, and :PORT where `host_may_lack`. ERROR_USAGE quotes it and says what is wrong.
bool address_check(const char *address, bool host_may_lack, struct error *error);
