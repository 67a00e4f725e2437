// See terminal.h.
#include "coordinator/report/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { USUAL_COLUMNS = 80 };

bool terminal_obeys(int descriptor)
{
	const char *name = getenv("TERM");
	return isatty(descriptor) == 1 && name != NULL && *name != '\0' && strcmp(name, "dumb") != 0;
}

uint32_t terminal_columns(int descriptor)
{
	struct winsize size;
	if (isatty(descriptor) != 1)
		return 0;
	return ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : USUAL_COLUMNS;
}

// The last column stays free: many terminals wrap when it is written. Lines are ASCII but for names, which may be cut a little early.
void progress_show(const char *line)
{
	uint32_t columns = terminal_columns(STDERR_FILENO);
	int length = columns > 1 ? (int)columns - 1 : 0;
	while (length > 0 && length < (int)strlen(line) && (line[length] & 0xc0) == 0x80) // within a character
		length--;
	fprintf(stderr, "\r\033[K%.*s", length, line);
	fflush(stderr);
}

void progress_clear(void)
{
	fputs("\r\033[K", stderr);
}
