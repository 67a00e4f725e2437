// The terminal, as long as it is ours: a page that can be scrolled, and keys. One thread, and one screen in a process.
#pragma once

#include "common/base/error.h"
#include "coordinator/view/page.h"

bool screen_start(struct error *error); // standard input and output are a terminal
void screen_stop(void);
void screen_show(const struct page *page); // kept until the next one
uint32_t screen_columns(void);

enum screen_key {
	SCREEN_NOTHING, // within the time
	SCREEN_RESIZED, // or scrolled: what is shown was drawn again
	SCREEN_QUIT,    // q, or the terminal is gone
};
enum screen_key screen_wait(uint32_t timeout_ms);
