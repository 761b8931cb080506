/*
 * ipv6.h - whether this network has IPv6 on its loopback interface; many containers have not.
 */
#ifndef IPCLAB_SUPPORT_IPV6_H
#define IPCLAB_SUPPORT_IPV6_H

/* 0, or the errno with which a socket, or binding it to ::1, fails. */
int ipv6_fault(void);

#endif
