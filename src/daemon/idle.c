// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Naps: short ones for a while, in case traffic has only paused, then longer ones.

#include "daemon/idle.h"

#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"

#define SPIN_US	     50
#define SHORT_NAP_US 20
#define SHORT_FOR_US (50 * US_IN_MS)
#define LONG_NAP_US  250

void idle_init(struct idle *idle, bool busy, uint64_t now_us)
{
	idle->busy = busy;
	idle->traffic_us = now_us;
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
}

bool idle_turn(struct idle *idle, bool worked, uint64_t now_us, uint64_t deadline_us)
{
	struct timespec nap = {0};
	uint64_t quiet_us, nap_us;

	if (worked)
		idle->traffic_us = now_us;
	quiet_us = now_us - idle->traffic_us;
	if (idle->busy || quiet_us < SPIN_US || deadline_us <= now_us)
		return false;
	nap_us = quiet_us < SHORT_FOR_US ? SHORT_NAP_US : LONG_NAP_US;
	if (nap_us > deadline_us - now_us)
		nap_us = deadline_us - now_us;
	nap.tv_nsec = (long)(nap_us * 1000);
	nanosleep(&nap, NULL);
	return true;
}
