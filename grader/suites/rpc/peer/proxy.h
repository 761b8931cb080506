/* proxy.h - a bad network between calc and calcd, both the submission's: UDP alone. */
#ifndef IPCLAB_SUITES_RPC_PEER_PROXY_H
#define IPCLAB_SUITES_RPC_PEER_PROXY_H

#include "suites/rpc/peer/rpc.h"

/* Callers at most: each has another fate (proxy.c), which of them which is from the seed. */
enum { PROXY_PATHS = 8 };

struct proxy;

/* Between callers and `s`; one in a test. `r` has to live as long. */
struct proxy *proxy_open(const struct server *s, struct random *r);
/* What callers take for the server. */
struct endpoint *proxy_front(const struct proxy *p);
/* Carries what has come by now, in both directions: loses, doubles, and lets later ones overtake.
 * Does not wait: to be called again and again, by the condition of a wait_until(). */
void proxy_carry(struct proxy *p);
/* Whether a caller was brought a reply with this value. */
bool proxy_has_brought(const struct proxy *p, int64_t value);

#endif
