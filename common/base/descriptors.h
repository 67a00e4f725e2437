// How many files and sockets the process may have open. Any thread.
#pragma once

void descriptors_allow_all(void); // as many as the system allows
