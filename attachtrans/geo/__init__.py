"""Geometry between pixels and maps: numpy arrays in, numpy arrays out; opens no files.

    rotation    angles of each convention <-> one rotation matrix
    distortion  what lenses do to the ideal picture, both ways
    camera      pinhole, fisheye and panorama cameras: pixels <-> rays
    ground      where rays meet a plane or an elevation model
    frame       the metric frame in which all this is done, and its way to a CRS
    pose        what sources say of a camera; posemerge: of several one; resection: from points
    view        pixels <-> map by one pair of calls: grids, cameras, RPCs, control points
    footprint   the area that an image shows
    rectify     images brought onto a map grid; occlusion, orthogrid, mosaic belong to it
    rpcfit      an RPC in place of a camera; undistort: photos without their lens
    carriers    georeferences written beside images, for an image of another size

World coordinates are metres in a right-handed frame, x east, y north, z up. Camera axes are x
right, y down, z forward. Pixels are (col, row) with (0, 0) at the CENTRE of the first pixel here;
what is placed on a map counts from the outer corner, and adds the half pixel itself.
"""
