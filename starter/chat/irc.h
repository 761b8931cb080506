/*
 * irc.h - what chatd and chat must agree on: limits, numbers and texts of the protocol.
 *
 * All of it is a part of IRC as RFC 2812 has it, so that programs which were written by others are
 * peers of yours. README.md says what each number is for. The texts are for people: no program
 * looks at them, and yours may say something else.
 */
#ifndef IRC_H
#define IRC_H

enum irc_limit {
    IRC_PORT = 6667,       /* where a server is looked for if nobody says otherwise */
    IRC_LINE_MAX = 512,    /* bytes of a line, with its CRLF */
    IRC_CONTENT_MAX = 510, /* without it */
    IRC_PARAMETERS_MAX = 15,
    IRC_NICK_MAX = 9,          /* bytes of a nick */
    IRC_CHANNEL_MAX = 50,      /* of a channel's name, with its '#' */
    IRC_USER_MAX = 10,         /* of the user in a prefix: what is longer is cut */
    IRC_WAITING_MAX = 1 << 20, /* what chatd keeps for a client that does not read */
};

/* The name that the server gives itself: the prefix of whatever it says in its own name. */
#define IRC_SERVER "chatd.local"

/* Numerics: replies below 400, errors from there on. On the wire each has three digits. */
enum irc_numeric {
    RPL_WELCOME = 1,
    RPL_YOURHOST = 2,
    RPL_CREATED = 3,
    RPL_MYINFO = 4,
    RPL_NAMREPLY = 353,
    RPL_ENDOFNAMES = 366,
    ERR_NOSUCHNICK = 401,
    ERR_NOSUCHCHANNEL = 403,
    ERR_CANNOTSENDTOCHAN = 404,
    ERR_NOORIGIN = 409,
    ERR_NORECIPIENT = 411,
    ERR_NOTEXTTOSEND = 412,
    ERR_UNKNOWNCOMMAND = 421,
    ERR_NOMOTD = 422,
    ERR_NONICKNAMEGIVEN = 431,
    ERR_ERRONEUSNICKNAME = 432,
    ERR_NICKNAMEINUSE = 433,
    ERR_NOTONCHANNEL = 442,
    ERR_NOTREGISTERED = 451,
    ERR_NEEDMOREPARAMS = 461,
    ERR_ALREADYREGISTRED = 462,
};

/* The text of a numeric, its last parameter. RPL_NAMREPLY and RPL_MYINFO have none of their own. */
static inline const char *irc_text(enum irc_numeric numeric)
{
    switch (numeric) {
    case RPL_WELCOME:
        return "Welcome to the chat";
    case RPL_YOURHOST:
        return "Your host is " IRC_SERVER;
    case RPL_CREATED:
        return "This server was made in a course on interprocess communication";
    case RPL_ENDOFNAMES:
        return "End of NAMES list";
    case ERR_NOSUCHNICK:
        return "No such nick/channel";
    case ERR_NOSUCHCHANNEL:
        return "No such channel";
    case ERR_CANNOTSENDTOCHAN:
        return "Cannot send to channel";
    case ERR_NOORIGIN:
        return "No origin specified";
    case ERR_NORECIPIENT:
        return "No recipient given";
    case ERR_NOTEXTTOSEND:
        return "No text to send";
    case ERR_UNKNOWNCOMMAND:
        return "Unknown command";
    case ERR_NOMOTD:
        return "There is no message of the day";
    case ERR_NONICKNAMEGIVEN:
        return "No nickname given";
    case ERR_ERRONEUSNICKNAME:
        return "Erroneous nickname";
    case ERR_NICKNAMEINUSE:
        return "Nickname is already in use";
    case ERR_NOTONCHANNEL:
        return "You're not on that channel";
    case ERR_NOTREGISTERED:
        return "You have not registered";
    case ERR_NEEDMOREPARAMS:
        return "Not enough parameters";
    case ERR_ALREADYREGISTRED:
        return "You may not register again";
    default:
        return "";
    }
}

#endif
