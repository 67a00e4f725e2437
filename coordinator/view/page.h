// What `penstock top` shows at one moment: the jobs, a line each, and a table with a row a stage. One thread.
#pragma once

#include "coordinator/view/rates.h"

enum { PAGE_MINIMUM_BAR = 10, PAGE_PLAIN_BAR = 30, PAGE_MAXIMUM_BAR = 60 };

struct page_options {
	const char *job;        // of this job alone; NULL: all
	const char *heading;    // the first line
	const char *complaints; // lines about nodes that do not answer; "": none
	uint32_t columns;       // of the screen, which the columns up to the bar and the bar fill; 0: it has no end
};

struct page {
	char *text; // lines that end with \n; owned
	// Where the bars are.
	uint32_t first_row, row_count;
	uint32_t bar_column, bar_width;
};

// False when memory is out.
bool page_init(const struct rates *rates, const struct page_options *options, struct page *ret_page);
void page_fini(struct page *page);
