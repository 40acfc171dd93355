// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Naps: short ones for a while, in case traffic has only paused, then longer ones. Workers that
// share a core spin for nobody, and each naps so much longer: together they wake up as often as
// one.

#include "daemon/idle.h"

#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"

#define SPIN_US 50

// The longer it has been quiet, the longer the naps: what arrives waits for the end of one.
static const struct {
	uint64_t quiet_us, nap_us;
} naps[] = {
	{50 * US_IN_MS, 20},
	{1 * US_IN_S, 100},
	{UINT64_MAX, 250},
};

static uint64_t nap_after(uint64_t quiet_us)
{
	unsigned i = 0;

	while (quiet_us >= naps[i].quiet_us)
		i++;
	return naps[i].nap_us;
}

void idle_init(struct idle *idle, bool busy, unsigned sharing, uint64_t now_us)
{
	idle->busy = busy;
	idle->sharing = sharing;
	idle->traffic_us = now_us;
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
}

bool idle_turn(struct idle *idle, bool worked, uint64_t now_us, uint64_t deadline_us)
{
	struct timespec nap = {0};
	uint64_t quiet_us, nap_us, spin_us = idle->sharing == 1 ? SPIN_US : 0;

	if (worked)
		idle->traffic_us = now_us;
	quiet_us = now_us - idle->traffic_us;
	if (idle->busy || worked || quiet_us < spin_us || deadline_us <= now_us)
		return false;
	nap_us = nap_after(quiet_us) * idle->sharing;
	if (nap_us > deadline_us - now_us)
		nap_us = deadline_us - now_us;
	nap.tv_nsec = (long)(nap_us * 1000);
	nanosleep(&nap, NULL);
	return true;
}
