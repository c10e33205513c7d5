"""The faults that the responder can have, each with the case that has to catch it.

A row here and one place in the responder that asks `on("the row's name")` make a fault.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A way in which the responder can be wrong."""

    name: str
    case: str  # a function's name, with one of its parameters' ids in brackets if it is to be that one
    text: str  # what it is that the responder does then


FAULTS = (
    # IP
    Fault("the IP checksum is not verified", "a_wrong_header_checksum_is_ignored",
          "A header counts whatever its checksum."),
    Fault("padding is data", "what_comes_behind_the_total_length_is_no_part_of_the_datagram",
          "What the frame has behind the datagram is taken for a part of it."),
    Fault("anything is a source", "the_broadcast_address_of_the_network_is_no_source",
          "Broadcast addresses, groups and its own address are answered like others."),
    Fault("broadcasts are for everybody", "a_broadcast_for_a_closed_port_draws_no_error",
          "What goes to a broadcast address is treated as if it were for this host alone."),
    Fault("fragments in order of arrival", "fragments_become_the_datagram_in_whatever_order_they_come",
          "Fragments are put one behind the other as they come, whatever their offsets."),
    Fault("holes between fragments", "a_datagram_waits_for_the_fragment_that_it_lacks",
          "The first and the last fragment are enough for a datagram."),
    Fault("fragments of two hosts are mixed", "two_hosts_may_use_the_same_identification",
          "Fragments belong together if their identification is the same, whoever sent them."),
    Fault("no fragment is the last", "the_largest_echo_comes_back",
          "All fragments that are sent say that there are more."),
    # ICMP
    Fault("the ICMP checksum is not verified", "an_echo_with_a_wrong_checksum_is_ignored",
          "Messages count whatever their checksum."),
    Fault("long pings are cut", "an_echo_of_any_size_comes_back",
          "A reply has 56 bytes of its request and no more."),
    Fault("replies to pings are all number 0", "identifier_and_sequence_number_come_back",
          "A reply does not have its request's sequence number."),
    Fault("errors quote too little", "an_error_quotes_what_has_drawn_it_unchanged",
          "Errors quote 4 bytes behind the IP header instead of 8 and more."),
    Fault("errors without limit", "a_flood_draws_a_bounded_number_of_errors",
          "Whatever deserves an error draws one."),
    # UDP
    Fault("the UDP checksum is not verified", "a_datagram_with_a_wrong_checksum_is_dropped",
          "Datagrams count whatever their checksum."),
    Fault("UDP insists on a checksum", "a_datagram_without_a_checksum_is_taken",
          "A checksum of 0 is taken for a wrong one and not for none."),
    Fault("UDP takes all that IP has", "what_stands_behind_the_length_is_no_data",
          "UDP's own length is not looked at."),
    Fault("UDP answers have a wrong checksum", "what_is_sent_has_a_checksum",
          "The checksum of what is sent is a constant."),
    Fault("closed UDP ports are silent", "a_port_where_nobody_listens_is_unreachable",
          "Where no service is nothing is answered."),
    # TCP: how connections begin
    Fault("the TCP checksum is not verified", "a_syn_with_a_wrong_checksum_draws_nothing",
          "Segments count whatever their checksum."),
    Fault("the SYN-ACK has no MSS", "a_syn_draws_a_syn_ack_with_an_mss",
          "What may come in a segment is not said."),
    Fault("the SYN is not acknowledged", "what_is_sent_to_echo_comes_back",
          "The SYN-ACK acknowledges all before the SYN, but not the SYN."),
    Fault("a window scale that was not offered", "options_that_the_syn_does_not_offer_are_not_in_the_answer",
          "The SYN-ACK has a window scale though the SYN had none."),
    Fault("no MSS means as much as fits", "without_an_mss_536_is_assumed",
          "A peer that has not said what it takes gets segments as long as the link allows."),
    Fault("the MSS is not honoured", "no_segment_is_longer_than_the_mss",
          "A peer that has said what it takes gets them, too."),
    Fault("the window scale is not applied", "the_window_is_scaled_by_what_the_syn_has_said",
          "The peer's windows are taken for bytes though both ends have agreed on a scale."),
    Fault("unknown options end the list", "the_mss_is_found_wherever_it_stands[after an unknown one]",
          "What stands behind an option that it does not know is not seen."),
    Fault("an option of length 0 is for ever", "a_malformed_option_in_a_syn_hurts_nobody[length 0]",
          "An option of length 0 is skipped by 0 bytes, again and again."),
    Fault("all connections begin with the same number", "the_isns_of_different_ports_have_nothing_to_do_with_each_other",
          "The first sequence number is a constant."),
    Fault("any ACK ends the handshake", "in_syn_received_a_wrong_acknowledgement_draws_a_reset_at_its_number",
          "A handshake is over with an acknowledgement of whatever: a stranger can complete it."),
    # TCP: resets for what has no connection
    Fault("closed TCP ports are silent", "at_a_closed_port_an_acknowledgement_draws_a_reset_at_its_number",
          "What is for no connection draws no reset."),
    Fault("resets draw resets", "at_a_closed_port_a_reset_draws_nothing",
          "What is for no connection draws a reset even if it is one."),
    Fault("resets do not count the SYN", "at_a_closed_port_what_acknowledges_nothing_draws_a_reset_that_acknowledges_it_all[a SYN]",
          "The reset that answers a SYN does not acknowledge it, so its sender does not believe it."),
    # TCP: what is in the window, and in order
    Fault("sequence numbers do not wrap", "sequence_numbers_wrap_within_a_segment",
          "Sequence numbers are compared as numbers, not modulo 2**32."),
    Fault("the right edge is not checked", "the_first_byte_beyond_the_window_is_refused",
          "Data beyond the window is taken."),
    Fault("what is out of the window is ignored", "an_acknowledgement_beyond_the_window_draws_one",
          "Unacceptable segments draw no acknowledgement."),
    Fault("overlapping data is taken twice", "the_old_front_of_a_segment_is_cut_off",
          "Of a segment that begins with old data, the old is taken again."),
    Fault("data out of order is lost", "what_comes_too_early_waits_for_what_is_before_it",
          "Only what is next is kept."),
    Fault("data out of order is taken as it comes", "four_segments_come_back_in_order_whatever_order_they_came_in",
          "Gaps are not noticed."),
    Fault("data without ACK is taken", "without_an_acknowledgement_nothing_counts[in ESTABLISHED]",
          "Segments without the flag ACK are processed."),
    Fault("data behind a FIN is taken", "data_behind_a_fin_is_ignored",
          "A stream goes on behind its end."),
    # TCP: strangers who guess (RFC 5961)
    Fault("resets are ignored", "a_reset_ends_a_connection",
          "No reset ends a connection."),
    Fault("resets anywhere in the window count", "resets_all_over_the_window_end_nothing",
          "A reset need not have the very number that is next, as before RFC 5961."),
    Fault("resets need not be in the window", "resets_all_over_the_sequence_space_end_nothing",
          "A reset ends a connection whatever its number."),
    Fault("inexact resets are not challenged", "a_challenge_says_what_is_sent_and_awaited[R]",
          "A reset in the window that is not at its edge is ignored."),
    Fault("a SYN ends a connection", "the_data_of_a_blind_syn_is_not_taken",
          "A SYN in the window resets the connection, as before RFC 5961."),
    Fault("a SYN is not challenged", "a_challenge_says_what_is_sent_and_awaited[S]",
          "A SYN in the window is ignored."),
    Fault("challenges without limit", "a_flood_of_impossible_acknowledgements_draws_few_answers",
          "Every segment that looks forged is answered."),
    Fault("ACKs of what was never sent are fine", "data_with_a_guessed_acknowledgement_is_not_taken[1073741824]",
          "Data is taken though its segment acknowledges what was not sent."),
    Fault("ACKs may be as old as they like", "acknowledgements_are_believed_no_further_back_than_the_largest_window",
          "Data is taken though its segment acknowledges what is long past."),
    # TCP: retransmission and congestion
    Fault("nothing is sent again", "what_is_not_acknowledged_is_sent_again",
          "When the retransmission timer runs out, the connection is given up."),
    Fault("other bytes are sent again", "what_is_sent_again_is_what_was_sent",
          "What is sent again is not what was lost."),
    Fault("the RTO does not double", "the_time_out_doubles",
          "Retransmissions keep their pace."),
    Fault("no fast retransmit", "three_duplicate_acks_have_the_missing_segment_sent_again_at_once",
          "Duplicate acknowledgements say nothing."),
    Fault("fast retransmit at the first duplicate", "two_duplicate_acks_have_nothing_sent_again",
          "Segments that have overtaken each other cause retransmissions."),
    Fault("all is sent at once", "no_more_than_the_initial_window_is_sent_at_first",
          "There is no congestion window."),
    Fault("a timeout does not slow down", "after_a_time_out_slow_start_begins_with_one_segment",
          "The congestion window stays what it was when the retransmission timer runs out."),
    # TCP: windows
    Fault("the window of the peer is not honoured", "no_more_is_sent_than_the_window_that_is_offered",
          "More is sent than the peer has room for."),
    Fault("no window probes", "a_window_that_is_shut_is_probed_and_not_overrun",
          "While the window is shut nothing asks whether it still is."),
    Fault("window probes do not back off", "probes_come_ever_more_seldom_and_the_connection_lives",
          "Window probes keep their pace."),
    Fault("window probes give up", "probes_come_ever_more_seldom_and_the_connection_lives",
          "A window that stays shut ends the connection."),
    Fault("the window shrinks", "the_edge_of_the_window_that_a_receiver_offers_moves_only_to_the_right",
          "The right edge of its own window is taken back."),
    Fault("the window opens by silly steps", "a_receiver_opens_its_window_by_a_full_segment_or_not_at_all",
          "A window that was shut opens by a hundred bytes."),
    Fault("segments of any size", "a_window_that_opens_a_little_is_not_filled_with_a_small_segment",
          "Every byte of room that the peer offers is filled at once."),
    Fault("no Nagle", "while_data_is_on_the_way_only_full_segments_follow",
          "Small segments go out while others are on the way."),
    # TCP: acknowledgements
    Fault("gaps draw no duplicate ACKs", "a_segment_out_of_order_draws_a_duplicate_ack_at_once",
          "A segment out of order is acknowledged late."),
    Fault("ACKs are late", "an_acknowledgement_is_delayed_by_less_than_half_a_second",
          "An acknowledgement waits for a second and a half."),
    Fault("every ACK waits", "the_second_full_sized_segment_is_acknowledged_at_once",
          "Acknowledgements wait, however much there is to acknowledge."),
    # TCP: how connections end
    Fault("a FIN is not acknowledged", "a_fin_is_acknowledged_and_answered_by_one",
          "The peer's end of the stream is not heard."),
    Fault("a FIN is not sent again", "a_fin_is_sent_again_until_it_is_acknowledged",
          "Only data is sent again."),
    Fault("no TIME-WAIT", "a_fin_that_comes_again_to_time_wait_is_acknowledged",
          "A connection is forgotten when the last FIN has come."),
)

NAMES = {fault.name: fault for fault in FAULTS}
chosen = None


def choose(name):
    """Makes the responder wrong in this way; in none if it is `None`."""
    global chosen
    chosen = name and NAMES[name]


def on(name):
    """Whether the responder is to be wrong in this way."""
    return NAMES[name] is chosen
