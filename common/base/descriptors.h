// The process's descriptors: how many there may be, and the three that every program expects.
#pragma once

void descriptors_allow_all(void); // as many as the system allows; any thread
// Opens /dev/null in the place of each of descriptors 0 to 2 that is closed. Otherwise the next file or socket takes that number, and what is
// printed or logged is written into it. First thing in main.
void descriptors_reserve_standard(void);
