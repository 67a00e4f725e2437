// What a terminal can show, and the progress line, which rewrites itself there. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// The descriptor is a terminal that obeys escape sequences: TERM is set, and not "dumb".
bool terminal_obeys(int descriptor);
// Columns of the terminal now; 0: the descriptor is none.
uint32_t terminal_columns(int descriptor);

// The line on stderr, in the place of the one before; cut to the terminal's width, so that it never wraps. terminal_obeys(2) holds.
void progress_show(const char *line) __attribute__((nonnull));
// Removes it, so that another line may follow.
void progress_clear(void);
