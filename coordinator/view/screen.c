// See screen.h. ncurses draws only what has changed.
#include "coordinator/view/screen.h"

#include <ncurses.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "coordinator/view/bar.h"

enum { SIDEWAYS = 8, GONE = 100 }; // columns at a key; reads that fail at once before the terminal counts as gone

static struct {
	SCREEN *terminal;
	char *text; // of the page, owned
	struct page page;
	int top, left; // of what is shown
	int failed_reads;
} screen;

bool screen_start(struct error *error)
{
	screen.terminal = newterm(NULL, stdout, stdin);
	if (screen.terminal == NULL)
		return error_set(error, ERROR_USAGE, "this terminal (TERM=%.40s) cannot be drawn on: use --iterations",
				 getenv("TERM") != NULL ? getenv("TERM") : "");
	set_term(screen.terminal);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	if (has_colors()) {
		start_color();
		use_default_colors();
		for (int i = 0; i < PHASE_COUNT; i++)
			init_pair((short)(i + 1), i < PHASE_FIRST_WAIT ? COLOR_GREEN : COLOR_YELLOW, -1);
	}
	return true;
}

void screen_stop(void)
{
	if (screen.terminal == NULL)
		return;
	endwin();
	delscreen(screen.terminal);
	free(screen.text);
	memset(&screen, 0, sizeof(screen));
}

uint32_t screen_columns(void)
{
	return COLS > 0 ? (uint32_t)COLS : 80;
}

static int count_lines(void)
{
	int lines = 0;
	for (const char *c = screen.text; c != NULL && *c != '\0'; c++)
		lines += *c == '\n';
	return lines;
}

// Computing stands out from waiting, on a terminal without colours, too.
static void colour_bar(int line)
{
	int begin = (int)screen.page.bar_column - screen.left;
	for (int x = begin < 0 ? 0 : begin; x < begin + (int)screen.page.bar_width && x < COLS; x++) {
		enum phase phase = bar_phase((char)(mvinch(line, x) & A_CHARTEXT));
		if (phase == PHASE_COUNT)
			continue;
		attr_t look = phase < PHASE_FIRST_WAIT ? A_REVERSE : A_NORMAL;
		mvchgat(line, x, 1, look, has_colors() ? (short)(phase + 1) : 0, NULL);
	}
}

// The line from column `left` on. Wide characters that the edge cuts are left out by ncurses.
static void draw_line(int line, const char *text, int length)
{
	WINDOW *pad = newpad(1, length + 1 > COLS ? length + 1 : COLS);
	if (pad == NULL)
		return;
	mvwaddnstr(pad, 0, 0, text, length);
	copywin(pad, stdscr, 0, screen.left < getmaxx(pad) ? screen.left : getmaxx(pad) - 1, line, 0, line,
		screen.left < getmaxx(pad) && getmaxx(pad) - screen.left < COLS ? getmaxx(pad) - screen.left - 1
										: COLS - 1,
		FALSE);
	delwin(pad);
}

static void draw(void)
{
	const char *text = screen.text != NULL ? screen.text : "";
	int limit = count_lines() - LINES;
	if (screen.top > limit)
		screen.top = limit > 0 ? limit : 0;
	erase();
	for (int i = 0; *text != '\0' && i - screen.top < LINES; i++) {
		int length = (int)strcspn(text, "\n");
		int line = i - screen.top;
		int row = i - (int)screen.page.first_row;
		if (line >= 0)
			draw_line(line, text, length);
		if (line >= 0 && row >= 0 && row < (int)screen.page.row_count)
			colour_bar(line);
		else if (line >= 0 && (i == 0 || row == -1))
			mvchgat(line, 0, -1, i == 0 ? A_BOLD : A_REVERSE, 0, NULL);
		text += length + (text[length] == '\n');
	}
	refresh();
}

void screen_show(const struct page *page)
{
	char *copy = strdup(page->text);
	if (copy == NULL)
		return;
	free(screen.text);
	screen.text = copy;
	screen.page = *page;
	draw();
}

static bool scroll_by_key(int key)
{
	int page = LINES > 2 ? LINES - 1 : 1;
	switch (key) {
	case KEY_UP:
		screen.top -= 1;
		break;
	case KEY_DOWN:
		screen.top += 1;
		break;
	case KEY_PPAGE:
		screen.top -= page;
		break;
	case KEY_NPAGE:
		screen.top += page;
		break;
	case KEY_LEFT:
		screen.left -= SIDEWAYS;
		break;
	case KEY_RIGHT:
		screen.left += SIDEWAYS;
		break;
	case KEY_HOME:
		screen.top = screen.left = 0;
		break;
	default:
		return false;
	}
	if (screen.top < 0)
		screen.top = 0;
	if (screen.left < 0)
		screen.left = 0;
	return true;
}

enum screen_key screen_wait(uint32_t timeout_ms)
{
	uint64_t begin = clock_now_ns();
	timeout((int)timeout_ms);
	int key = getch();
	// Of a terminal that is gone nothing can be read, and that at once.
	bool at_once = key == ERR && (clock_now_ns() - begin) / 1000000 < timeout_ms / 2;
	screen.failed_reads = at_once ? screen.failed_reads + 1 : 0;
	if (key == 'q' || key == 'Q' || screen.failed_reads > GONE)
		return SCREEN_QUIT;
	if (key != KEY_RESIZE && !scroll_by_key(key))
		return SCREEN_NOTHING;
	draw();
	return SCREEN_RESIZED;
}
